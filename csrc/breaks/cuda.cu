// breaks on a GPU: a thread for each pixel, then for each corner.
#include "breaks/breaks.h"
#include "launcher_cuda.cuh"

namespace xs {

void breaks_cuda(const BreaksArgs& a, void* stream) {
    breaks_passes(CudaLauncher(stream), a);
}

}  // namespace xs
