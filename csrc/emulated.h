// Runs a kernel written for blocks (block.h) on the host, one block after the other.
#pragma once

#include <vector>

#include "block.h"

namespace xs {

constexpr int kEmulatedBlocks = 3;

// Runs body(block) for three blocks with `floats` of memory each, so that a kernel's walk over its
// tiles is tested too; forwards and backwards in turns, since no order may matter. Memory begins as
// NaN: a kernel that reads what it has not written shows.
template <class Body>
void for_each_block_emulated(int64_t floats, const Body& body) {
    static thread_local bool backwards = true;
    backwards = !backwards;
    for (int i = 0; i < kEmulatedBlocks; ++i) {
        const int index = backwards ? kEmulatedBlocks - 1 - i : i;
        std::vector<float> memory(floats, NAN);
        body(HostBlock{index, kEmulatedBlocks, memory.data()});
    }
}

}  // namespace xs
