// fused_step on a device: kernels written for blocks (block.h) and items, also run on the host by
// tests.
//
// A block takes 32 rays from face ids to the gradient of their features, which stay in its memory,
// and adds those to the rows of a gradient table; then every touched row takes its Adam step and
// its gradient is cleared. The table is as large as the rows, but only touched rows are ever read
// or written. Deterministic: that table holds fixed-point numbers (block.h), whose sums do not
// depend on the order in which blocks come.
#pragma once

#include <type_traits>

#include "fused/step_rows.h"

namespace xs {

// Floats of a block's memory for a shader that takes `shader` of them.
inline int64_t step_memory(int64_t shader) {
    return shader + tile_memory(kStepChannels, 0);
}

// The shader's args for the device: outputs in scratch memory.
inline ShadeArgs step_shade_args(const FusedStepArgs& a, const StepScratch& s) {
    ShadeArgs shade = a.shade;
    shade.photo = a.shade.exposure == nullptr ? nullptr : a.points.camera_index;
    shade.target = s.target;
    shade.rgb = s.rgb;
    shade.ray_loss = s.ray_loss;
    shade.rays = a.rays;
    shade.width = a.grid.levels * a.grid.width;
    shade.scale = 1.0f / static_cast<float>(a.rays);
    shade.device.mixed = a.mixed ? a.control : nullptr;
    shade.device.block_sums = s.block_sums;
    return shade;
}

// In deterministic mode the shader's gradients are fixed-point numbers in one array, and the
// pointers that the shader adds to are places in it, never read or written as floats.
inline void step_fix_sums(const StepScratch& s, const StepGradients& sizes, ShadeArgs& shade) {
    if (s.fixed == nullptr) {
        return;
    }
    float* base = reinterpret_cast<float*>(s.fixed);
    shade.device.sums = {base, s.fixed};
    shade.grad_weights = base;
    shade.grad_exposure = shade.grad_exposure == nullptr ? nullptr : base + sizes.weights;
    shade.grad_light = base + sizes.weights + sizes.exposure;
}

// One kernel for each shader and kind of products.
template <bool kFilm, class Products>
struct StepKernel {
    FusedStepArgs a;
    ShadeArgs shade;
    EncodeArgs points;
    EncodeGrid grid;
    Products products;
    int64_t coarse_rows;

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        const StepIo io{a, points, grid, coarse_rows};
        if constexpr (kFilm) {
            shade_film_block<true>(block, shade, io, products);
        } else {
            shade_relu_block<true>(block, shade, io, products);
        }
    }
};

// Calls launch(kernel) with the kernel for these args.
template <class Products, class Launch>
inline void step_launch(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes,
                        const Products& products, const Launch& launch) {
    EncodeArgs points = step_encode_args(a);
    points.grad_table = a.gradient_half == nullptr ? a.gradient : s.coarse;
    const EncodeGrid grid = encode_grid(a.grid);
    ShadeArgs shade = step_shade_args(a, s);
    step_fix_sums(s, sizes, shade);
    if (a.shade.light == nullptr) {
        launch(StepKernel<false, Products>{a, shade, points, grid, products, s.coarse_rows});
    } else {
        launch(StepKernel<true, Products>{a, shade, points, grid, products, s.coarse_rows});
    }
}

template <class Launch>
inline void step_shade(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes,
                       const Launch& launch) {
    if (a.mixed) {
        const HalfProducts products(step_plan(a), a.shade.weights, s.packed);
        step_launch(a, s, sizes, products, launch);
    } else {
        step_launch(a, s, sizes, FloatProducts{a.shade.weights}, launch);
    }
}

// Whether the device can take rows whole.
inline bool step_rows_aligned(const FusedStepArgs& a) {
    return rows_aligned(a.adam.param, a.grid.width, a.grid.width) &&
           rows_aligned(a.adam.first, a.adam.first_stride, a.grid.width) &&
           rows_aligned(a.adam.second, a.adam.second_stride, a.grid.width) &&
           rows_aligned(a.gradient, a.grid.width, a.grid.width) &&
           rows_aligned(a.gradient_half, a.grid.width, a.grid.width) &&
           rows_aligned(a.gradient_fixed, a.grid.width, a.grid.width);
}

// Floats of a block's memory.
inline int64_t step_block_memory(const FusedStepArgs& a) {
    const ShadeArgs shade = step_shade_args(a, {});
    return step_memory(a.shade.light == nullptr ? shade_relu_block_memory(shade, true)
                                                : shade_film_block_memory(shade));
}

inline AdamArgs step_adam_args(const FusedStepArgs& a) {
    AdamArgs adam = a.adam;
    adam.control = a.control;
    return adam;
}

// Blocks that share the tiles of rays, at most.
template <class Launcher>
int64_t step_blocks(const Launcher& launcher, const FusedStepArgs& a) {
    return launcher.block_limit("fused_step", (a.rays + kTileRays - 1) / kTileRays);
}

// Bytes of scratch memory.
template <class Launcher>
int64_t step_scratch_on(const Launcher& launcher, const FusedStepArgs& a) {
    StepScratch s{};
    const int64_t blocks = step_blocks(launcher, a);
    return step_scratch(a, step_gradients(a), blocks, nullptr, s) +
           launcher.block_scratch("fused_step", blocks, step_block_memory(a));
}

// The passes that shade, up to the gradients of all rows.
template <class Launcher>
void step_shade_passes(const Launcher& launcher, const FusedStepArgs& a, const StepScratch& s,
                       const StepGradients& sizes, int64_t blocks) {
    if (s.fixed != nullptr) {
        launcher.clear("fused_step", s.fixed, sizes.all() * int64_t{sizeof(int64_t)});
    }
    if (s.coarse_rows > 0) {
        launcher.clear("fused_step", s.coarse,
                       s.coarse_rows * a.grid.width * int64_t{sizeof(float)});
    }
    launcher.items("fused_step (targets)", 3 * a.rays,
                   [a, s] XS_HD(int64_t i) { step_target(a, s, i); });
    if (a.mixed) {
        const HalfPlan plan = step_plan(a);
        launcher.items("fused_step (weights)", plan.halves, [a, s, plan] XS_HD(int64_t i) {
            half_pack(plan, a.shade.weights, i, s.packed);
        });
    }
    step_shade(a, s, sizes, [&](const auto& kernel) {
        launcher.blocks("fused_step", blocks, step_block_memory(a), s.blocks, kernel);
    });
    launcher.items("fused_step (loss)", kStepSums,
                   [a, s] XS_HD(int64_t i) { step_partial_sum(a, s, i); });
    launcher.blocks("fused_step (sums)", 1, StepSum::kMemory, nullptr, StepSum{a, s});
    if (s.fixed != nullptr || a.control != nullptr) {
        launcher.items("fused_step (gradients)", sizes.all(),
                       [a, s, sizes] XS_HD(int64_t i) { step_finish(a, s, sizes, i); });
    }
    if (a.control != nullptr) {
        launcher.items("fused_step (control)", 1, [a, s] XS_HD(int64_t) { step_decide(a, s); });
    }
}

// The passes in order.
template <class Launcher>
void step_on(const Launcher& launcher, const FusedStepArgs& args) {
    const FusedStepArgs a = args;
    const StepGradients sizes = step_gradients(a);
    const int64_t blocks = step_blocks(launcher, a);
    StepScratch s{};
    step_scratch(a, sizes, blocks, a.scratch, s);
    step_shade_passes(launcher, a, s, sizes, blocks);
    const int64_t rows = a.grid.offsets[a.grid.levels];
    with_width(a.grid.width, [&](auto f) {
        launcher.warps("fused_step (rows)", touched_warps(rows), 0,
                       StepRows<f>{a, step_adam_args(a), s, rows});
    });
}

}  // namespace xs
