// Counts of a kernel's run: what can be known of its speed without a device.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "warp.h"

namespace device {

struct Counts {
    uint64_t launches = 0, threads = 0, instructions = 0, lanes = 0, float64 = 0;
    // Accesses of warps, and the sectors (32 bytes) and lines (128 bytes) that they touch.
    uint64_t loads = 0, load_sectors = 0, load_lines = 0;
    uint64_t stores = 0, store_sectors = 0, store_lines = 0;
    uint64_t atomics = 0, atomic_sectors = 0;
    uint64_t shared = 0, shared_waves = 0, shared_least = 0, local = 0;
    std::map<std::string, uint64_t> by_name;
};

// Those of the kernel that runs; all of them.
Counts& counts();
std::map<std::string, Counts>& all_counts();

enum class Move : uint8_t { load, store, atomic };

// Where a lane's access goes: an address, or an offset into shared memory.
struct Target {
    enum class Kind : uint8_t { none, global, shared, local, param } kind = Kind::none;
    char* memory = nullptr;
    uint64_t address = 0;
};

void count_instruction(const Instruction& in, Mask run);
void count_access(const std::array<Target, kLanes>& targets, Mask run, int bytes, Move move);

// All counts as JSON, the lines of the source that took the most instructions among them.
std::string counts_text();

}  // namespace device
