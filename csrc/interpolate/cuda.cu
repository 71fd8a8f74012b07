// interpolate on a GPU: a thread for each pixel.
#include "interpolate/interpolate.h"
#include "parallel_cuda.cuh"

namespace xs {

void interpolate_cuda(const InterpolateArgs& args, void* stream) {
    const InterpolateArgs a = args;
    parallel_for_cuda("interpolate", a.n, static_cast<cudaStream_t>(stream),
                      [a] __device__(int64_t i) { interpolate_one(a, i); });
}

}  // namespace xs
