// The device kernels of the fused ops and of encode, run on the host for tests.
#include "emulated.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "fused/frame_warp.h"
#include "fused/step_block.h"

namespace xs {

int64_t fused_frame_scratch(const FusedFrameArgs& a) {
    return frame_net(a).packed_bytes();
}

void fused_frame_emulated(const FusedFrameArgs& a) {
    const EncodeArgs points = frame_encode_args(a);
    const EncodeGrid grid = encode_grid(a.grid);
    FrameNet net = frame_net(a);
    frame_place(net, a.scratch);
    for (int64_t i = 0; i < net.halves + net.floats; ++i) {
        frame_pack(a, net, i);
    }
    std::vector<uint64_t> memory((net.bytes() + 7) / 8);
    frame_pick(a, [&](auto features, auto shader) {
        for (int64_t tile = 0; tile < frame_tiles(a); ++tile) {
            // All NaN, as halves and as floats: a kernel that reads what it has not written shows.
            std::memset(memory.data(), 0xff, memory.size() * sizeof(uint64_t));
            const HostWarp warp{reinterpret_cast<char*>(memory.data())};
            frame_tile<features, shader>(warp, a, points, grid, net, tile);
        }
    });
}

template <int F>
static void step(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes) {
    for (int64_t i = 0; i < 3 * a.rays; ++i) {
        step_target(a, s, i);
    }
    const HalfPlan plan = step_plan(a);
    for (int64_t i = 0; i < plan.halves; ++i) {
        half_pack(plan, a.shade.weights, i, s.packed);
    }
    step_shade(a, s, sizes,
               [&](const auto& kernel) { for_each_block_emulated(step_block_memory(a), kernel); });
    for (int64_t i = 0; i < kStepSums; ++i) {
        step_partial_sum(a, s, i);
    }
    step_sum(a, s, 0);
    step_sum(a, s, 1);
    for (int64_t i = 0; (s.fixed != nullptr || a.control != nullptr) && i < sizes.all(); ++i) {
        step_finish(a, s, sizes, i);
    }
    if (a.control != nullptr) {
        step_decide(a, s);
    }
    const AdamArgs adam = step_adam_args(a);
    for (int64_t i = 0; i < a.grid.offsets[a.grid.levels] / 8; ++i) {
        step_rows<F>(a, adam, i);
    }
}

int64_t fused_step_scratch(const FusedStepArgs& a) {
    StepScratch s{};
    return step_scratch(a, step_gradients(a), kEmulatedBlocks, nullptr, s);
}

void fused_step_emulated(const FusedStepArgs& a) {
    const StepGradients sizes = step_gradients(a);
    StepScratch s{};
    step_scratch(a, sizes, kEmulatedBlocks, a.scratch, s);
    if (s.fixed != nullptr) {
        std::memset(s.fixed, 0, sizes.all() * sizeof(int64_t));
    }
    switch (a.grid.width) {
        case 1:
            return step<1>(a, s, sizes);
        case 2:
            return step<2>(a, s, sizes);
        case 4:
            return step<4>(a, s, sizes);
        default:
            return step<8>(a, s, sizes);
    }
}

template <int F>
static void forward(const EncodeArgs& a) {
    const EncodeGrid grid = encode_grid(a.grid);
    for (int64_t i = 0; i < a.points * a.grid.levels; ++i) {
        const int64_t point = i / a.grid.levels;
        const EncodeLevel& level = grid.level[i % a.grid.levels];
        float sum[F];
        encode_features<F>(a, level, a.position + 3 * point, encode_level_weight(a, level, point),
                           sum);
        row_store<F>(a.features + i * F, sum);
    }
}

template <int F>
static void backward(const EncodeArgs& a) {
    const EncodeGrid grid = encode_grid(a.grid);
    for (int64_t i = encode_scatter_warps(a) - 1; i >= 0; --i) {  // no order may matter much
        encode_scatter<F>(HostWarp{nullptr}, a, grid, rows_aligned(a.grad_table, a.grad_stride, F),
                          i);
    }
}

void encode_emulated(const EncodeArgs& a) {
    a.grid.width == 1   ? forward<1>(a)
    : a.grid.width == 2 ? forward<2>(a)
    : a.grid.width == 4 ? forward<4>(a)
                        : forward<8>(a);
}

void encode_backward_emulated(const EncodeArgs& a) {
    a.grid.width == 1   ? backward<1>(a)
    : a.grid.width == 2 ? backward<2>(a)
    : a.grid.width == 4 ? backward<4>(a)
                        : backward<8>(a);
}

}  // namespace xs
