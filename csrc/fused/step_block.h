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

#include "fused/step_ends.h"
#include "shade/film_block.h"
#include "shade/relu_block.h"

namespace xs {

// Shared by the launchers: scratch memory and the shader's args.
struct StepScratch {
    float* target;      // [rays, 3]
    float* rgb;         // [rays, 3]
    float* ray_loss;    // [rays]
    double* partial;    // [2, kStepSums]
    int32_t* overflow;  // [1] not 0: a gradient of the shader is not a finite number
    int64_t* fixed;     // the shader's gradients, deterministic only
    Half* packed;       // the shader's weights (half_plan), mixed only
    float* block_sums;  // [blocks, weights] of the film shader
    char* blocks;       // memory of the blocks, where the device has too little shared memory
};

// Pieces of the sums over the rays.
constexpr int64_t kStepSums = 4096;

// Numbers of all the shader's gradients, in the order in which they lie in StepScratch::fixed.
struct StepGradients {
    int64_t weights, exposure, light;

    int64_t all() const { return weights + exposure + light; }
};

inline ShadeReluLayers step_relu_layers(const FusedStepArgs& a) {
    return shade_relu_layers(a.grid.levels * a.grid.width, a.shade.hidden, a.shade.sh_degree);
}

inline ShadeFilmLayers step_film_layers(const FusedStepArgs& a) {
    return shade_film_layers(a.grid.levels * a.grid.width, a.shade.hidden);
}

// The packed weights of a mixed step; empty otherwise.
inline HalfPlan step_plan(const FusedStepArgs& a) {
    if (!a.mixed) {
        return {};
    }
    if (a.shade.light == nullptr) {
        const ShadeReluLayers l = step_relu_layers(a);
        const TileLayer layers[] = {l.first, l.second, l.colour};
        return half_plan(layers, 3);
    }
    const ShadeFilmLayers l = step_film_layers(a);
    const TileLayer layers[] = {l.feature1,   l.feature2,   l.mapping1, l.mapping2,
                                l.direction1, l.direction2, l.colour};
    return half_plan(layers, 7);
}

// Lays `s` out in `memory` for so many blocks; returns the bytes that it takes.
inline int64_t step_scratch(const FusedStepArgs& a, const StepGradients& sizes, int64_t blocks,
                            void* memory, StepScratch& s) {
    char* next = static_cast<char*>(memory);
    const auto take = [&](int64_t bytes) {
        char* taken = next;
        next += (bytes + 15) / 16 * 16;
        return taken;
    };
    s.partial = reinterpret_cast<double*>(take(2 * kStepSums * int64_t{sizeof(double)}));
    s.target = reinterpret_cast<float*>(take(3 * a.rays * int64_t{sizeof(float)}));
    s.rgb = reinterpret_cast<float*>(take(3 * a.rays * int64_t{sizeof(float)}));
    s.ray_loss = reinterpret_cast<float*>(take(a.rays * int64_t{sizeof(float)}));
    char* fixed = take(a.gradient_fixed == nullptr ? 0 : sizes.all() * int64_t{sizeof(int64_t)});
    s.fixed = a.gradient_fixed == nullptr ? nullptr : reinterpret_cast<int64_t*>(fixed);
    s.overflow = reinterpret_cast<int32_t*>(take(sizeof(int32_t)));
    s.packed = reinterpret_cast<Half*>(take(step_plan(a).halves * int64_t{sizeof(Half)}));
    const int64_t sums = a.shade.light == nullptr ? 0 : blocks * sizes.weights;
    char* block_sums = take(sums * int64_t{sizeof(float)});
    s.block_sums = sums == 0 ? nullptr : reinterpret_cast<float*>(block_sums);
    s.blocks = next;
    return next - static_cast<char*>(memory);
}

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

inline StepGradients step_gradients(const FusedStepArgs& a) {
    StepGradients sizes{};
    if (a.shade.light == nullptr) {
        sizes.weights = step_relu_layers(a).colour.end();
    } else {
        sizes.weights = step_film_layers(a).colour.end();
        sizes.light = 4 * static_cast<int64_t>(a.shade.hidden);
    }
    if (a.shade.exposure != nullptr) {
        sizes.exposure = a.shade.photos *
                         int64_t{a.shade.light == nullptr ? kExposureNumbers : 2 * a.shade.hidden};
    }
    return sizes;
}

// One kernel for each shader and kind of products.
template <class Products>
struct StepRelu {
    FusedStepArgs a;
    ShadeArgs shade;
    EncodeArgs points;
    EncodeGrid grid;
    Products products;

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        shade_relu_block<true>(block, shade, StepEnds{a, points, grid}, products);
    }
};

template <class Products>
struct StepFilm {
    FusedStepArgs a;
    ShadeArgs shade;
    EncodeArgs points;
    EncodeGrid grid;
    Products products;

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        shade_film_block<true>(block, shade, StepEnds{a, points, grid}, products);
    }
};

// Calls launch(kernel) with the kernel for these args.
template <class Products, class Launch>
inline void step_launch(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes,
                        const Products& products, const Launch& launch) {
    const EncodeArgs points = step_encode_args(a);
    const EncodeGrid grid = encode_grid(a.grid);
    ShadeArgs shade = step_shade_args(a, s);
    step_fix_sums(s, sizes, shade);
    if (a.shade.light == nullptr) {
        launch(StepRelu<Products>{a, shade, points, grid, products});
    } else {
        launch(StepFilm<Products>{a, shade, points, grid, products});
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

// Number `i` of the targets.
XS_HD inline void step_target(const FusedStepArgs& a, const StepScratch& s, int64_t i) {
    s.target[i] = static_cast<float>(a.target[i]) / a.target_range;
}

// Piece `i` of the sums of losses and squared errors, and their end, in a fixed order.
XS_HD inline void step_partial_sum(const FusedStepArgs& a, const StepScratch& s, int64_t i) {
    if (i == 0) {
        *s.overflow = 0;
    }
    double loss = 0.0, error = 0.0;
    for (int64_t r = a.rays * i / kStepSums; r < a.rays * (i + 1) / kStepSums; ++r) {
        loss += s.ray_loss[r];
        for (int64_t c = 3 * r; c < 3 * r + 3; ++c) {
            const float away = s.rgb[c] - s.target[c];
            error += static_cast<double>(away) * away;
        }
    }
    s.partial[i] = loss;
    s.partial[kStepSums + i] = error;
}

XS_HD inline void step_sum(const FusedStepArgs& a, const StepScratch& s, int64_t which) {
    double sum = 0.0;
    for (int64_t i = 0; i < kStepSums; ++i) {
        sum += s.partial[which * kStepSums + i];
    }
    a.sums[which] = sum;
}

// Number `i` of the shader's gradients.
XS_HD inline float& step_gradient(const FusedStepArgs& a, const StepGradients& sizes, int64_t i) {
    return i < sizes.weights ? a.shade.grad_weights[i]
           : i < sizes.weights + sizes.exposure
               ? a.shade.grad_exposure[i - sizes.weights]
               : a.shade.grad_light[i - sizes.weights - sizes.exposure];
}

// Number `i` of the shader's gradients as its caller wants it: from fixed-point numbers, without
// the factor that it was computed with; and whether it is one.
XS_HD inline void step_finish(const FusedStepArgs& a, const StepScratch& s,
                              const StepGradients& sizes, int64_t i) {
    float& value = step_gradient(a, sizes, i);
    if (s.fixed != nullptr) {
        value += from_fixed(s.fixed[i]);
    }
    if (a.mixed) {
        value *= 1.0f / control_scale(a.control);  // the factor of this step still
    }
    if (!(value - value == 0.0f)) {
        *s.overflow = 1;  // whoever writes it writes the same
    }
}

// Whether the step moves anything, for a control to know.
XS_HD inline void step_decide(const FusedStepArgs& a, const StepScratch& s) {
    const double rays = static_cast<double>(a.rays < 1 ? 1 : a.rays);
    control_decide(a.control, a.sums[0] / rays, a.sums[1] / (3.0 * rays), *s.overflow != 0,
                   a.mixed);
}

// The gradient of a row without the factor that it was computed with. False where it left the half
// floats: then the next factor is the lesser one.
template <int F>
XS_HD inline bool step_unscale(double* control, float (&grad)[F]) {
    const auto used = static_cast<float>(control[kControlUsed]);
    bool finite = true;
    for (int f = 0; f < F; ++f) {
        grad[f] *= 1.0f / used;
        finite = finite && grad[f] - grad[f] == 0.0f;
    }
    if (!finite && used > kScaleLeast) {
        control[kControlScale] = 0.5 * used;  // whoever writes it writes the same
        control[kControlGood] = 0.0;
    }
    return finite;
}

// The touched rows of byte `i` of the touched bits: Adam's step unless nothing moves, and gradient
// and bits cleared.
template <int F>
XS_HD inline void step_rows(const FusedStepArgs& a, const AdamArgs& args, int64_t i) {
    const uint8_t bits = a.touched[i];
    if (bits == 0) {
        return;
    }
    a.touched[i] = 0;
    const AdamArgs adam = adam_controlled(args);
    const bool moves = a.control == nullptr ? control_finite(a.sums[0]) : control_moves(a.control);
    for (int bit = 0; bit < 8; ++bit) {
        if ((bits >> bit & 1) == 0) {
            continue;
        }
        const int64_t row = 8 * i + bit;
        float grad[F];
        if (a.gradient_fixed != nullptr) {
            for (int f = 0; f < F; ++f) {
                grad[f] = from_fixed(a.gradient_fixed[row * F + f]);
                a.gradient_fixed[row * F + f] = 0;
            }
        } else if (a.gradient_half != nullptr) {
            for (int f = 0; f < F; ++f) {
                grad[f] = half_to_float(a.gradient_half[row * F + f]);
                a.gradient_half[row * F + f] = {0};
            }
        } else {
            const float none[F] = {};
            row_load<F>(a.gradient + row * F, grad);
            row_store<F>(a.gradient + row * F, none);
        }
        if (moves && (!a.mixed || step_unscale<F>(a.control, grad))) {
            adam_lazy_row<F>(adam, row, grad);
        }
    }
}

// Whether the device can take rows whole.
inline bool step_rows_aligned(const FusedStepArgs& a) {
    return rows_aligned(a.adam.param, a.grid.width, a.grid.width) &&
           rows_aligned(a.adam.first, a.adam.first_stride, a.grid.width) &&
           rows_aligned(a.adam.second, a.adam.second_stride, a.grid.width) &&
           rows_aligned(a.gradient, a.grid.width, a.grid.width);
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

// The passes in order.
template <int F, class Launcher>
void step_passes(const Launcher& launcher, const FusedStepArgs& args) {
    const FusedStepArgs a = args;
    const StepGradients sizes = step_gradients(a);
    const int64_t blocks = step_blocks(launcher, a);
    StepScratch s{};
    step_scratch(a, sizes, blocks, a.scratch, s);
    if (s.fixed != nullptr) {
        launcher.clear("fused_step", s.fixed, sizes.all() * int64_t{sizeof(int64_t)});
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
    launcher.items("fused_step (sums)", 2, [a, s] XS_HD(int64_t i) { step_sum(a, s, i); });
    if (s.fixed != nullptr || a.control != nullptr) {
        launcher.items("fused_step (gradients)", sizes.all(),
                       [a, s, sizes] XS_HD(int64_t i) { step_finish(a, s, sizes, i); });
    }
    if (a.control != nullptr) {
        launcher.items("fused_step (control)", 1, [a, s] XS_HD(int64_t) { step_decide(a, s); });
    }
    const AdamArgs adam = step_adam_args(a);
    launcher.items("fused_step (rows)", a.grid.offsets[a.grid.levels] / 8,
                   [a, adam] XS_HD(int64_t i) { step_rows<F>(a, adam, i); });
}

template <class Launcher>
void step_on(const Launcher& launcher, const FusedStepArgs& a) {
    with_width(a.grid.width, [&](auto f) { step_passes<f>(launcher, a); });
}

}  // namespace xs
