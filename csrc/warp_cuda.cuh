// Launches of kernels written for warps (warp.h).
#pragma once

#include "parallel_cuda.cuh"
#include "warp.h"

namespace xs {

struct DeviceWarp {
    char* memory;

    template <class T>
    struct PerLane {
        T value;
        XS_HD T& operator[](int) { return value; }
    };

    template <class Body>
    XS_HD void each(const Body& body) const {
#if defined(__CUDA_ARCH__)
        body(static_cast<int>(threadIdx.x) % kWarpLanes);
#endif
    }

    template <class Predicate>
    XS_HD bool any(const Predicate& predicate) const {
#if defined(__CUDA_ARCH__)
        return __any_sync(0xffffffffu, predicate(static_cast<int>(threadIdx.x) % kWarpLanes)) != 0;
#else
        return false;
#endif
    }

    template <class Predicate>
    XS_HD uint32_t ballot(const Predicate& predicate) const {
#if defined(__CUDA_ARCH__)
        return __ballot_sync(0xffffffffu, predicate(static_cast<int>(threadIdx.x) % kWarpLanes));
#else
        return 0;
#endif
    }

    XS_HD void previous(PerLane<int64_t>& from, PerLane<int64_t>& to) const {
#if defined(__CUDA_ARCH__)
        to.value = __shfl_up_sync(0xffffffffu, static_cast<long long>(from.value), 1);
#endif
    }

    template <class T, class Predicate>
    XS_HD void add_shifted(PerLane<T>& numbers, int by, const Predicate& predicate) const {
#if defined(__CUDA_ARCH__)
        const bool wanted = predicate(static_cast<int>(threadIdx.x) % kWarpLanes);
        XS_UNROLL
        for (int i = 0; i < T::kCount; ++i) {
            const float other = __shfl_down_sync(0xffffffffu, numbers.value.value[i], by);
            numbers.value.value[i] += wanted ? other : 0.0f;
        }
#endif
    }
    template <class T>
    XS_HD void pick(PerLane<T>& from, PerLane<int>& lane, PerLane<T>& to) const {
#if defined(__CUDA_ARCH__)
        to.value = __shfl_sync(0xffffffffu, from.value, lane.value);
#endif
    }

    XS_HD int sums_before(PerLane<int>& numbers) const {
        int total = 0;
#if defined(__CUDA_ARCH__)
        const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
        int sum = numbers.value;
        XS_UNROLL
        for (int by = 1; by < kWarpLanes; by *= 2) {
            const int other = __shfl_up_sync(0xffffffffu, sum, by);
            sum += lane >= by ? other : 0;
        }
        total = __shfl_sync(0xffffffffu, sum, kWarpLanes - 1);
        numbers.value = sum - numbers.value;
#endif
        return total;
    }

    XS_HD void sync() const {
#if defined(__CUDA_ARCH__)
        __syncwarp();
#endif
    }

    XS_HD void product(PerLane<MmaA>& a, PerLane<MmaB>& b, PerLane<MmaC>& sum) const {
#if defined(__CUDA_ARCH__)
        float (&c)[4] = sum.value.value;
        // Volatile: no compiler may move it to where some of the lanes are.
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a.value.pair[0]), "r"(a.value.pair[1]), "r"(a.value.pair[2]),
              "r"(a.value.pair[3]), "r"(b.value.pair[0]), "r"(b.value.pair[1]));
#endif
    }
};

// Warps of a block: few, since they share nothing, and one that ends early frees its place.
constexpr int kWarpsPerBlock = 2;

template <class Body>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarpLanes)
    for_each_warp_kernel(int64_t warps, int bytes, const __grid_constant__ Body body) {
    extern __shared__ __align__(16) char warp_memory[];
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
    const int64_t index = static_cast<int64_t>(blockIdx.x) * kWarpsPerBlock + warp;
    if (index < warps) {
        body(DeviceWarp{warp_memory + warp * bytes}, index);
    }
}

// Runs body(warp, index) for index in [0, warps) with `bytes` of shared memory each, a multiple
// of 16.
template <class Body>
void for_each_warp_cuda(const char* name, int64_t warps, int64_t bytes, cudaStream_t stream,
                        const Body& body) {
    if (warps <= 0) {
        return;
    }
    const auto kernel = for_each_warp_kernel<Body>;
    const int shared = static_cast<int>(bytes) * kWarpsPerBlock;
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
               name);
    const int64_t blocks = (warps + kWarpsPerBlock - 1) / kWarpsPerBlock;
    kernel<<<static_cast<unsigned int>(blocks), kWarpsPerBlock * kWarpLanes, shared, stream>>>(
        warps, static_cast<int>(bytes), body);
    check_cuda(cudaGetLastError(), name);
}

}  // namespace xs
