// How many GPUs the CUDA runtime finds.
#include <cuda_runtime.h>

namespace xs {

// Number of CUDA devices the driver shows; 0 where there is no driver.
int cuda_device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace xs
