#include <cmath>
#include <cstring>
#include <vector>

#include "emulated.h"
#include "ops/fused_frame_warp.h"
#include "ops/fused_step_block.h"

namespace xs {

void fused_frame_emulated(const FusedFrameArgs& a) {
    const EncodeArgs points = frame_encode_args(a);
    const EncodeGrid grid = encode_grid(points);
    FrameNet net = frame_net(a);
    std::vector<uint64_t> packed((net.packed_bytes() + 7) / 8);
    frame_place(net, packed.data());
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
static void shade(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes) {
    const EncodeArgs points = step_encode_args(a);
    const EncodeGrid grid = encode_grid(points);
    if (a.light == nullptr) {
        ShadeReluArgs args = step_relu_args(a, s);
        step_fix_sums(s, sizes, args);
        for_each_block_emulated(
            step_memory(shade_relu_block_memory(args, true)), [&](const HostBlock& block) {
                shade_relu_block<true>(block, args, StepEnds<F>{a, points, grid});
            });
    } else {
        ShadeFilmArgs args = step_film_args(a, s);
        step_fix_sums(s, sizes, args);
        for_each_block_emulated(
            step_memory(shade_film_block_memory(args)), [&](const HostBlock& block) {
                shade_film_block<true>(block, args, StepEnds<F>{a, points, grid});
            });
    }
}

template <int F>
static void step(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes) {
    for (int64_t i = 0; i < 3 * a.rays; ++i) {
        step_target(a, s, i);
    }
    shade<F>(a, s, sizes);
    for (int64_t i = 0; i < kStepSums; ++i) {
        step_partial_sum(a, s, i);
    }
    step_sum(a, s, 0);
    step_sum(a, s, 1);
    for (int64_t i = 0; s.fixed != nullptr && i < sizes.all(); ++i) {
        step_unfix(a, s, sizes, i);
    }
    const AdamArgs adam = step_adam_args(a);
    for (int64_t i = 0; i < a.offsets[a.levels] / 8; ++i) {
        step_rows<F>(a, adam, i);
    }
}

void fused_step_emulated(const FusedStepArgs& a) {
    const StepGradients sizes = step_gradients(a);
    StepScratch s{};
    std::vector<uint64_t> memory(step_scratch(a, sizes, nullptr, s) / sizeof(uint64_t));
    step_scratch(a, sizes, memory.data(), s);
    switch (a.width) {
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
    const EncodeGrid grid = encode_grid(a);
    for (int64_t i = 0; i < a.points * a.levels; ++i) {
        const int64_t point = i / a.levels;
        const EncodeLevel& level = grid.level[i % a.levels];
        float sum[F];
        encode_features<F>(a, level, a.position + 3 * point, encode_level_weight(a, level, point),
                           sum);
        row_store<F>(a.features + i * F, sum);
    }
}

template <int F>
static void backward(const EncodeArgs& a) {
    const EncodeGrid grid = encode_grid(a);
    for (int64_t i = encode_scatter_items(a) - 1; i >= 0; --i) {  // no order may matter much
        encode_scatter<F>(a, grid, rows_aligned(a.grad_table, a.grad_stride, F), i);
    }
}

void encode_emulated(const EncodeArgs& a) {
    a.width == 1   ? forward<1>(a)
    : a.width == 2 ? forward<2>(a)
    : a.width == 4 ? forward<4>(a)
                   : forward<8>(a);
}

void encode_backward_emulated(const EncodeArgs& a) {
    a.width == 1   ? backward<1>(a)
    : a.width == 2 ? backward<2>(a)
    : a.width == 4 ? backward<4>(a)
                   : backward<8>(a);
}

}  // namespace xs
