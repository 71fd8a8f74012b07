// reproject on a GPU: a thread for each pixel.
#include "launcher_cuda.cuh"
#include "reproject/reproject.h"

namespace xs {

void reproject_cuda(const ReprojectArgs& args, void* stream) {
    reproject_passes(CudaLauncher(stream), args);
}

}  // namespace xs
