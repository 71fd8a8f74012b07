// Which GPUs the CUDA runtime finds, and which one it uses.
#include "parallel_cuda.cuh"

namespace xs {

// Number of CUDA devices the driver shows; 0 where there is no driver.
int cuda_device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// Lets what this thread launches go to a device. PyTorch has a CUDA runtime of its own.
void set_cuda_device(int device) {
    check_cuda(cudaSetDevice(device), "device");
}

}  // namespace xs
