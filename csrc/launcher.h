// Runs the passes of a device's kernels on the host, for tests (emulation).
//
// The passes of an op are written once, as a function of a launcher: HostLauncher here,
// CudaLauncher (launcher_cuda.cuh) on a GPU. No order of items, warps or blocks may matter, so each
// pass runs in the opposite order of the one before.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "block.h"

namespace xs {

constexpr int kHostBlocks = 3;  // so that a kernel's walk over its tiles is tested too

class HostLauncher {
  public:
    // Runs body(i) for i in [0, n).
    template <class Body>
    void items(const char*, int64_t n, const Body& body) const {
        backwards(n, body);
    }

    // Runs body(group, groups, thread) for every thread of a number of groups.
    template <class Body>
    void groups(const char*, int, int threads, const Body& body) const {
        backwards(int64_t{kHostBlocks} * threads, [&](int64_t i) {
            body(i / threads, int64_t{kHostBlocks}, static_cast<int>(i % threads));
        });
    }

    // Runs body(warp, i) for i in [0, n), each warp with `bytes` of memory. That begins as NaN, as
    // halves and as floats: a kernel that reads what it has not written shows.
    template <class Body>
    void warps(const char*, int64_t n, int64_t bytes, const Body& body) const {
        std::vector<uint64_t> memory((bytes + 7) / 8);
        backwards(n, [&](int64_t i) {
            std::fill(memory.begin(), memory.end(), ~uint64_t{0});
            body(HostWarp{reinterpret_cast<char*>(memory.data())}, i);
        });
    }

    // Runs body(warp, i, common) for i in [0, n), by warps that share `common` bytes, filled by
    // body.prepare(common, thread, threads), and have `own` bytes each; or body(warp, i) where a
    // device has no room for that.
    template <class Body>
    void teams(const char* name, int64_t n, int64_t common, int64_t own, const Body& body) const {
        std::vector<uint64_t> shared((common + 15) / 8);
        char* memory = reinterpret_cast<char*>(shared.data());
        constexpr int kThreads = 3;
        for (int thread = 0; thread < kThreads; ++thread) {
            body.prepare(memory, thread, kThreads);
        }
        warps(name, n, own, [&](const HostWarp& warp, int64_t i) { body(warp, i, memory); });
    }

    // Runs body(block) on some blocks, `most` at the most, each with `floats` of memory.
    template <class Body>
    void blocks(const char*, int64_t most, int64_t floats, void*, const Body& body) const {
        static thread_local bool down = true;
        down = !down;
        for (int i = 0; i < kHostBlocks && most > 0; ++i) {
            std::vector<float> memory(floats, NAN);
            const int index = down ? kHostBlocks - 1 - i : i;
            body(HostBlock{index, kHostBlocks, memory.data()});
        }
    }

    // Blocks of `most` that run, and bytes of scratch memory that they want of the caller.
    int64_t block_limit(const char*, int64_t) const { return kHostBlocks; }
    int64_t block_scratch(const char*, int64_t, int64_t) const { return 0; }

    void clear(const char*, void* memory, int64_t bytes) const { std::memset(memory, 0, bytes); }

  private:
    template <class Body>
    static void backwards(int64_t n, const Body& body) {
        for (int64_t i = n - 1; i >= 0; --i) {
            body(i);
        }
    }
};

}  // namespace xs
