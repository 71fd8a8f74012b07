// reproject on a GPU: a thread for each pixel.
#include "parallel_cuda.cuh"
#include "reproject/reproject.h"

namespace xs {

void reproject_cuda(const ReprojectArgs& args, void* stream) {
    const ReprojectArgs a = args;
    parallel_for_cuda("reproject", a.width * a.height, static_cast<cudaStream_t>(stream),
                      [a] __device__(int64_t i) { reproject_one(a, i); });
}

}  // namespace xs
