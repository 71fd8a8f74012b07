// Launches of kernels written for blocks (block.h).
#pragma once

#include <algorithm>

#include "block.h"
#include "parallel_cuda.cuh"
#include "warp_cuda.cuh"

namespace xs {

struct DeviceBlock {
    using Warp = DeviceWarp;
    int index, count;
    float* memory;

    template <class Body>
    XS_HD void phase(const Body& body) const {
#if defined(__CUDA_ARCH__)
        body(static_cast<int>(threadIdx.x));
        __syncthreads();
#endif
    }

    template <class Body>
    XS_HD void warps(const Body& body) const {
#if defined(__CUDA_ARCH__)
        body(DeviceWarp{nullptr}, static_cast<int>(threadIdx.x) / kWarpLanes);
        __syncthreads();
#endif
    }
};

// `workspace` is null where the block's memory is the kernel's shared memory.
template <class Body>
__global__ void __launch_bounds__(kBlockThreads)
    for_each_block_kernel(float* workspace, int64_t floats, const __grid_constant__ Body body) {
    extern __shared__ float shared[];
    float* memory = workspace == nullptr ? shared : workspace + blockIdx.x * floats;
    body(DeviceBlock{static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), memory});
}

// Where the memory of blocks lies on the current device, and how many processors that has.
struct BlockPlace {
    int processors;
    size_t shared;  // bytes of shared memory a block; 0: global memory
};

inline BlockPlace block_place(const char* name, int64_t floats) {
    int device = 0, processors = 0, largest = 0;
    check_cuda(cudaGetDevice(&device), name);
    check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), name);
    check_cuda(cudaDeviceGetAttribute(&largest, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
               name);
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
    return {processors, bytes <= largest ? static_cast<size_t>(bytes) : 0};
}

// Blocks a processor whose memory is global: about what its registers hold.
constexpr int kGlobalBlocks = 4;

// Blocks of `most` that the current device gets.
inline int64_t block_limit_cuda(const char* name, int64_t most) {
    return std::min<int64_t>(most, int64_t{block_place(name, 0).processors} * kGlobalBlocks);
}

// Bytes of global memory that blocks want of their launcher's caller: none on most devices.
inline int64_t block_scratch_cuda(const char* name, int64_t most, int64_t floats) {
    const BlockPlace place = block_place(name, floats);
    return place.shared > 0 || most <= 0
               ? 0
               : std::min<int64_t>(most, int64_t{place.processors} * kGlobalBlocks) * floats *
                     static_cast<int64_t>(sizeof(float));
}

// Runs body(block) on as many blocks as the device holds at once, `most` at the most, each with
// `floats` of memory: shared memory where that is large enough, otherwise a part of `scratch`,
// which holds block_scratch_cuda bytes.
template <class Body>
void for_each_block_cuda(const char* name, int64_t most, int64_t floats, void* scratch,
                         cudaStream_t stream, const Body& body) {
    if (most <= 0) {
        return;
    }
    const BlockPlace place = block_place(name, floats);
    const auto kernel = for_each_block_kernel<Body>;
    const size_t shared = place.shared;
    int resident = kGlobalBlocks;
    if (shared > 0) {
        check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared)),
                   name);
        check_cuda(
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kBlockThreads, shared),
            name);
    }
    const int64_t blocks =
        std::min<int64_t>(most, int64_t{place.processors} * std::max(resident, 1));
    float* workspace = shared > 0 ? nullptr : static_cast<float*>(scratch);
    kernel<<<static_cast<unsigned int>(blocks), kBlockThreads, shared, stream>>>(workspace, floats,
                                                                                 body);
    check_cuda(cudaGetLastError(), name);
}

}  // namespace xs
