// Launches of kernels written for blocks (block.h).
#pragma once

#include <algorithm>

#include "block.h"
#include "parallel_cuda.cuh"

namespace xs {

struct DeviceBlock {
    int index, count;
    float* memory;

    template <class Body>
    XS_HD void phase(const Body& body) const {
#if defined(__CUDA_ARCH__)
        body(static_cast<int>(threadIdx.x));
        __syncthreads();
#endif
    }
};

// `workspace` is null where the block's memory is the kernel's shared memory.
template <class Body>
__global__ void __launch_bounds__(kBlockThreads)
    for_each_block_kernel(float* workspace, int64_t floats, Body body) {
    extern __shared__ float shared[];
    float* memory = workspace == nullptr ? shared : workspace + blockIdx.x * floats;
    body(DeviceBlock{static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), memory});
}

// Runs body(block) on as many blocks as the device holds at once, `most` at the most, each with
// `floats` of memory: shared memory where that is large enough, global memory otherwise.
template <class Body>
void for_each_block_cuda(const char* name, int64_t most, int64_t floats, cudaStream_t stream,
                         const Body& body) {
    if (most <= 0) {
        return;
    }
    int device = 0, processors = 0, largest = 0, resident = 0;
    check_cuda(cudaGetDevice(&device), name);
    check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), name);
    check_cuda(cudaDeviceGetAttribute(&largest, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
               name);
    const auto kernel = for_each_block_kernel<Body>;
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
    const size_t shared = bytes <= largest ? static_cast<size_t>(bytes) : 0;
    if (shared > 0) {
        check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared)),
                   name);
    }
    check_cuda(
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kBlockThreads, shared),
        name);
    const int64_t blocks = std::min<int64_t>(most, int64_t{processors} * std::max(resident, 1));
    float* workspace = nullptr;
    if (shared == 0) {
        check_cuda(cudaMallocAsync(reinterpret_cast<void**>(&workspace), blocks * bytes, stream),
                   name);
    }
    kernel<<<static_cast<unsigned int>(blocks), kBlockThreads, shared, stream>>>(workspace, floats,
                                                                                 body);
    const cudaError_t launched = cudaGetLastError();
    if (workspace != nullptr) {
        check_cuda(cudaFreeAsync(workspace, stream), name);
    }
    check_cuda(launched, name);
}

}  // namespace xs
