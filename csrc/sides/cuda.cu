// sides on a GPU: a thread for each pixel.
#include "launcher_cuda.cuh"
#include "sides/sides.h"

namespace xs {

void sides_cuda(const SidesArgs& a, void* stream) {
    sides_passes(CudaLauncher(stream), a);
}

}  // namespace xs
