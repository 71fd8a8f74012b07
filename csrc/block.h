// A block of threads that share memory and work through tiles in phases, each phase ending with a
// barrier. The same code runs as a CUDA block (DeviceBlock, block_cuda.cuh) and on the host, where
// a phase is a loop over its threads (HostBlock): so the kernels' logic is tested without a device.
#pragma once

#include "host_device.h"

namespace xs {

constexpr int kBlockThreads = 256;

// Adds to memory that other blocks add to as well.
XS_HD inline void shared_add(float* to, float value) {
#if defined(__CUDA_ARCH__)
    atomicAdd(to, value);
#else
    *to += value;
#endif
}

// One block of `count`, run by the calling thread.
struct HostBlock {
    int index, count;
    float* memory;  // the block's own floats

    template <class Body>
    void phase(const Body& body) const {
        for (int thread = 0; thread < kBlockThreads; ++thread) {
            body(thread);
        }
    }
};

}  // namespace xs
