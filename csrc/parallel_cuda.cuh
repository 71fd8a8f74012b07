// Launches of CUDA kernels that treat items one by one; for launcher_cuda.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace xs {

inline void check_cuda(cudaError_t status, const char* name) {
    if (status != cudaSuccess) {
        throw std::runtime_error(std::string("xscale: ") + name + ": " +
                                 cudaGetErrorString(status));
    }
}

// Bodies are __grid_constant__: where one's members are referred to, nvcc would copy all of it into
// every thread's local memory otherwise.
template <class Body>
__global__ void for_each_kernel(int64_t n, const __grid_constant__ Body body) {
    const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
         i += stride) {
        body(i);
    }
}

// Runs body(i) for i in [0, n) on `stream`. `name` stands in the error message.
template <class Body>
void parallel_for_cuda(const char* name, int64_t n, cudaStream_t stream, const Body& body) {
    if (n <= 0) {
        return;
    }
    constexpr int kBlock = 256;
    const int64_t blocks = (n + kBlock - 1) / kBlock;
    const int grid = static_cast<int>(blocks < 262144 ? blocks : 262144);
    for_each_kernel<<<grid, kBlock, 0, stream>>>(n, body);
    check_cuda(cudaGetLastError(), name);
}

}  // namespace xs
