// interpolate on a GPU: a thread for each pixel.
#include "interpolate/interpolate.h"
#include "launcher_cuda.cuh"

namespace xs {

void interpolate_cuda(const InterpolateArgs& a, void* stream) {
    interpolate_passes(CudaLauncher(stream), a);
}

}  // namespace xs
