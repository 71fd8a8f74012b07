// A block of threads that share memory and work through tiles in phases, each phase ending with a
// barrier. The same code runs as a CUDA block (DeviceBlock, block_cuda.cuh) and on the host, where
// a phase is a loop over its threads (HostBlock): so the kernels' logic is tested without a device.
#pragma once

#include "warp.h"

namespace xs {

constexpr int kBlockThreads = 256;
constexpr int kBlockWarps = kBlockThreads / kWarpLanes;

// Adds to memory that other blocks add to as well.
XS_HD inline void shared_add(float* to, float value) {
#if defined(__CUDA_ARCH__)
    atomicAdd(to, value);
#else
    *to += value;
#endif
}

// Sums of fixed-point numbers do not depend on their order: 2^-52 a unit, up to 2048 in size, which
// is far from what gradients of a mean are. NaN becomes the highest number and shows as 2047.
constexpr float kFixedLimit = 2047.0f;
constexpr double kFixedUnit = 4503599627370496.0;  // 2^52

XS_HD inline int64_t to_fixed(float value) {
    const float limited = value < kFixedLimit ? value : kFixedLimit;
    return static_cast<int64_t>(
        static_cast<double>(limited > -kFixedLimit ? limited : -kFixedLimit) * kFixedUnit);
}

XS_HD inline float from_fixed(int64_t fixed) {
    return static_cast<float>(static_cast<double>(fixed) / kFixedUnit);
}

XS_HD inline void fixed_add(int64_t* to, float value) {
#if defined(__CUDA_ARCH__)
    atomicAdd(reinterpret_cast<unsigned long long*>(to),
              static_cast<unsigned long long>(to_fixed(value)));
#else
    *to += to_fixed(value);
#endif
}

// How a kernel adds to what other blocks add to as well: to the floats themselves in any order, or
// (deterministic) to fixed-point numbers, `fixed[i]` standing for `base[i]`.
struct BlockSums {
    const float* base;
    int64_t* fixed;  // null: floats

    XS_HD void add(float* to, float value) const {
        if (fixed == nullptr) {
            shared_add(to, value);
        } else {
            fixed_add(fixed + (to - base), value);
        }
    }
};

// One block of `count`, run by the calling thread.
struct HostBlock {
    using Warp = HostWarp;
    int index, count;
    float* memory;  // the block's own floats

    template <class Body>
    void phase(const Body& body) const {
        for (int thread = 0; thread < kBlockThreads; ++thread) {
            body(thread);
        }
    }

    // A phase whose threads work together in warps: body(warp, index).
    template <class Body>
    void warps(const Body& body) const {
        for (int warp = 0; warp < kBlockWarps; ++warp) {
            body(HostWarp{nullptr}, warp);
        }
    }
};

}  // namespace xs
