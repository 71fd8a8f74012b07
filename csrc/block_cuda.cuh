// Launches of kernels written for blocks (block.h).
#pragma once

#include <algorithm>
#include <type_traits>

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

// Blocks of a body that a processor is to hold at once: Body::kResident, or two. Told of one, the
// compiler takes more registers than two could have.
template <class Body, class = void>
constexpr int kResidentBlocks = 2;
template <class Body>
constexpr int kResidentBlocks<Body, std::void_t<decltype(Body::kResident)>> = Body::kResident;

// The block's memory is the kernel's shared memory or a part of `workspace`. Which of them is known
// here: an access of a pointer that may be either is looked up as it runs, an atomic one in a loop.
template <bool kShared, class Body>
__global__ void __launch_bounds__(kBlockThreads, kResidentBlocks<Body>)
    for_each_block_kernel(float* workspace, int64_t floats, const __grid_constant__ Body body) {
    extern __shared__ __align__(16) float shared[];
    const int index = static_cast<int>(blockIdx.x), count = static_cast<int>(gridDim.x);
    if constexpr (kShared) {
        body(DeviceBlock{index, count, shared});
    } else {
        body(DeviceBlock{index, count, workspace + index * floats});
    }
}

// Where the memory of blocks lies on the current device, and how many processors that has.
struct BlockPlace {
    int processors;
    size_t shared;                              // bytes of shared memory a block; 0: global memory
    int64_t largest;                            // bytes of shared memory that a block can have
    int64_t processor_shared, reserved_shared;  // bytes of a processor, and kept of them a block
};

inline BlockPlace block_place(const char* name, int64_t floats) {
    int device = 0;
    check_cuda(cudaGetDevice(&device), name);
    const auto attribute = [&](cudaDeviceAttr which) {
        int value = 0;
        check_cuda(cudaDeviceGetAttribute(&value, which, device), name);
        return value;
    };
    const int64_t largest = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
    return {attribute(cudaDevAttrMultiProcessorCount),
            bytes <= largest ? static_cast<size_t>(bytes) : 0, largest,
            attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor),
            attribute(cudaDevAttrReservedSharedMemoryPerBlock)};
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
    const size_t shared = place.shared;
    const auto kernel =
        shared > 0 ? for_each_block_kernel<true, Body> : for_each_block_kernel<false, Body>;
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
    kernel<<<static_cast<unsigned int>(blocks), kBlockThreads, shared, stream>>>(
        static_cast<float*>(scratch), floats, body);
    check_cuda(cudaGetLastError(), name);
}

}  // namespace xs
