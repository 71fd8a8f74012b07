// Launches of kernels whose warps work alone but share memory that is filled once: for weights that
// each of them reads again and again.
#pragma once

#include "block_cuda.cuh"

namespace xs {

constexpr int kTeamWarps = 12;  // of a block at most: the registers of a processor for 168 a thread
// Warps of a processor at least: where fewer would run, each reads global memory instead.
constexpr int kTeamLeast = 6;

template <class Body>
__global__ void __launch_bounds__(kTeamWarps* kWarpLanes)
    for_each_team_kernel(int64_t n, int64_t common, int64_t own,
                         const __grid_constant__ Body body) {
    extern __shared__ __align__(16) char team_memory[];
    body.prepare(team_memory, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
    __syncthreads();
    const int warps = static_cast<int>(blockDim.x) / kWarpLanes;
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
    const DeviceWarp mine{team_memory + common + warp * own};
    for (int64_t i = int64_t{blockIdx.x} * warps + warp; i < n; i += int64_t{gridDim.x} * warps) {
        body(mine, i, team_memory);
        mine.sync();  // before the memory is written again
    }
}

// Warps of a block, and blocks that a processor's shared memory holds.
struct TeamSize {
    int warps, blocks;
};

// The size with the most warps on a processor; no warps where a block has too little memory.
inline TeamSize team_size(const BlockPlace& place, int64_t common, int64_t own) {
    TeamSize best{0, 0};
    for (int warps = 1; warps <= kTeamWarps; ++warps) {
        const int64_t bytes = common + warps * own;
        if (bytes > place.largest) {
            break;
        }
        const auto blocks =
            static_cast<int>(place.processor_shared / (bytes + place.reserved_shared));
        if (warps * blocks >= best.warps * best.blocks) {
            best = {warps, blocks};
        }
    }
    return best;
}

// Runs body(warp, i, common) for i in [0, n), by warps of blocks that share `common` bytes, filled
// by body.prepare(common, thread, threads), and have `own` bytes each, both multiples of 16; or
// body(warp, i) where that leaves too few warps.
template <class Body>
void for_each_team_cuda(const char* name, int64_t n, int64_t common, int64_t own,
                        cudaStream_t stream, const Body& body) {
    if (n <= 0) {
        return;
    }
    const BlockPlace place = block_place(name, 0);
    const TeamSize size = team_size(place, common, own);
    if (size.warps * size.blocks < kTeamLeast) {
        return for_each_warp_cuda(name, n, own, stream, body);
    }
    const auto kernel = for_each_team_kernel<Body>;
    const auto shared = static_cast<int>(common + size.warps * own);
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
               name);
    const int64_t most = (n + size.warps - 1) / size.warps;
    const int64_t blocks = std::min<int64_t>(most, int64_t{place.processors} * size.blocks);
    kernel<<<static_cast<unsigned int>(blocks), size.warps * kWarpLanes, shared, stream>>>(
        n, common, own, body);
    check_cuda(cudaGetLastError(), name);
}

}  // namespace xs
