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

#include "ops/encode_rows.h"
#include "ops/fused_step.h"
#include "ops/interpolate.h"
#include "ops/shade_film_block.h"
#include "ops/shade_relu_block.h"

namespace xs {

// Beside a shader's memory, of a tile's rays: position in the unit cube and footprint.
constexpr int kStepChannels = 4;

inline EncodeArgs step_encode_args(const FusedStepArgs& a) {
    EncodeArgs points{};
    points.table = a.table;
    points.offsets = a.offsets;
    points.resolutions = a.resolutions;
    points.scales = a.scales;
    points.levels = a.levels;
    points.width = a.width;
    points.smoothstep = a.smoothstep;
    points.grad_table = a.gradient;
    points.grad_stride = a.width;
    points.touched = a.touched;
    return points;
}

// Where the shader's rays come from and their gradients go (TensorEnds in shade_block.h).
template <int F>
struct StepEnds {
    const FusedStepArgs& a;
    const EncodeArgs& points;
    const EncodeGrid& grid;

    XS_HD float fade(const float* point, int level) const {
        return a.footprint_scale > 0.0f ? encode_fade(point[3 * kTileStride] * a.footprint_scale,
                                                      grid.level[level].scale)
                                        : 1.0f;
    }

    template <class Block>
    XS_HD void load(const Block& block, float* point, int64_t ray, int rays, float* features,
                    float* direction) const {
        block.phase([&](int thread) {
            if (thread >= kTileRays) {
                return;
            }
            float at[3] = {}, towards[3] = {};
            float footprint = 0.0f, depth;
            if (thread < rays) {
                const int64_t r = ray + thread;
                const InterpolateArgs args{
                    a.vertices,      a.faces,       nullptr, a.cameras, a.camera_index + r,
                    a.pixel + 2 * r, a.face_id + r, 1,       at,        nullptr,
                    towards,         &footprint,    &depth};
                interpolate_one(args, 0);
            }
            for (int axis = 0; axis < 3; ++axis) {
                point[axis * kTileStride + thread] =
                    (at[axis] - a.centre[axis]) * a.unit[axis] + 0.5f;
                direction[axis * kTileStride + thread] = towards[axis];
            }
            point[3 * kTileStride + thread] = footprint * a.footprint_unit;
        });
        block.phase([&](int thread) {
            for (int i = thread; i < kTileRays * a.levels; i += kBlockThreads) {
                const int level = i / kTileRays;
                const float* mine = point + i % kTileRays;
                float* to = features + level * F * kTileStride + i % kTileRays;
                const float position[3] = {mine[0], mine[kTileStride], mine[2 * kTileStride]};
                float sum[F] = {};
                if (i % kTileRays < rays) {
                    encode_features<F>(points, grid.level[level], position, fade(mine, level), sum);
                }
                for (int f = 0; f < F; ++f) {
                    to[f * kTileStride] = sum[f];
                }
            }
        });
    }

    // A thread takes one corner at one level through the tile's rays: those that follow each other
    // in the same cell, as neighbours do, are added up before memory sees them.
    template <class Block>
    XS_HD void store(const Block& block, float* point, int64_t, int rays, const float* grad) const {
        block.phase([&](int thread) {
            for (int i = thread; i < 8 * a.levels; i += kBlockThreads) {
                const int level = i / 8;
                EncodeRun<F> run;
                for (int r = 0; r < rays; ++r) {
                    const float* mine = point + r;
                    const float visible = fade(mine, level);
                    if (visible == 0.0f) {
                        continue;
                    }
                    const float position[3] = {mine[0], mine[kTileStride], mine[2 * kTileStride]};
                    const EncodeCell at =
                        encode_cell(grid.level[level], position, points.smoothstep);
                    const int64_t row =
                        grid.level[level].offset + encode_corner_row(grid.level[level], at, i % 8);
                    const float weight = encode_corner_weight(at, i % 8) * visible;
                    if (row != run.row) {
                        flush(run);
                        run.row = row;
                    }
                    const float* from = grad + level * F * kTileStride + r;
                    for (int f = 0; f < F; ++f) {
                        run.sum[f] += weight * from[f * kTileStride];
                    }
                }
                flush(run);
            }
        });
    }

    XS_HD void flush(EncodeRun<F>& run) const {
        if (run.row < 0) {
            return;
        }
        if (a.gradient_fixed == nullptr) {
            encode_flush<F>(points, true, run);
            return;
        }
        for (int f = 0; f < F; ++f) {
            fixed_add(a.gradient_fixed + run.row * F + f, run.sum[f]);
            run.sum[f] = 0.0f;
        }
        encode_touch(a.touched, run.row);
    }
};

// What the launchers share: scratch memory and the shader's args.
struct StepScratch {
    float* target;    // [rays, 3]
    float* rgb;       // [rays, 3]
    float* ray_loss;  // [rays]
    double* partial;  // [2, kStepSums]
    int64_t* fixed;   // the shader's gradients, deterministic only
};

// Pieces of the sums over the rays.
constexpr int64_t kStepSums = 4096;

// Numbers of all the shader's gradients, in the order in which they lie in StepScratch::fixed.
struct StepGradients {
    int64_t weights, exposure, light;

    int64_t all() const { return weights + exposure + light; }
};

// Lays `s` out in `memory`; returns the bytes that it takes.
inline int64_t step_scratch(const FusedStepArgs& a, const StepGradients& sizes, void* memory,
                            StepScratch& s) {
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
    return next - static_cast<char*>(memory);
}

// Floats of a block's memory for a shader that takes `shader` of them.
inline int64_t step_memory(int64_t shader) {
    return shader + tile_memory(kStepChannels, 0);
}

template <class Args>
inline void step_shade_args(const FusedStepArgs& a, const StepScratch& s, Args& shade) {
    shade.weights = a.weights;
    shade.exposure = a.exposure;
    shade.photo = a.exposure == nullptr ? nullptr : a.camera_index;
    shade.target = s.target;
    shade.rgb = s.rgb;
    shade.ray_loss = s.ray_loss;
    shade.grad_weights = a.grad_weights;
    shade.grad_exposure = a.grad_exposure;
    shade.rays = a.rays;
    shade.width = a.levels * a.width;
    shade.hidden = a.hidden;
    shade.photos = a.photos;
    shade.loss = a.loss;
    shade.scale = 1.0f / static_cast<float>(a.rays);
}

// In deterministic mode the shader's gradients are fixed-point numbers in one array, and the
// pointers that the shader adds to are places in it, never read or written as floats.
template <class Args>
inline void step_fix_sums(const StepScratch& s, const StepGradients& sizes, Args& shade) {
    if (s.fixed == nullptr) {
        return;
    }
    float* base = reinterpret_cast<float*>(s.fixed);
    shade.sums = {base, s.fixed};
    shade.grad_weights = base;
    shade.grad_exposure = shade.grad_exposure == nullptr ? nullptr : base + sizes.weights;
    if constexpr (std::is_same_v<Args, ShadeFilmArgs>) {
        shade.grad_light = base + sizes.weights + sizes.exposure;
    }
}

inline ShadeReluArgs step_relu_args(const FusedStepArgs& a, const StepScratch& s) {
    ShadeReluArgs shade{};
    step_shade_args(a, s, shade);
    shade.sh_degree = a.sh_degree;
    return shade;
}

inline ShadeFilmArgs step_film_args(const FusedStepArgs& a, const StepScratch& s) {
    ShadeFilmArgs shade{};
    step_shade_args(a, s, shade);
    shade.light = a.light;
    shade.grad_light = a.grad_light;
    return shade;
}

inline StepGradients step_gradients(const FusedStepArgs& a) {
    StepGradients sizes{};
    if (a.light == nullptr) {
        sizes.weights = shade_relu_layers(step_relu_args(a, {})).colour.end();
    } else {
        sizes.weights = shade_film_layers(step_film_args(a, {})).colour.end();
        sizes.light = 4 * static_cast<int64_t>(a.hidden);
    }
    if (a.exposure != nullptr) {
        sizes.exposure = a.photos * int64_t{a.light == nullptr ? kExposureNumbers : 2 * a.hidden};
    }
    return sizes;
}

// Number `i` of the targets.
XS_HD inline void step_target(const FusedStepArgs& a, const StepScratch& s, int64_t i) {
    s.target[i] = static_cast<float>(a.target[i]) / a.target_range;
}

// Piece `i` of the sums of losses and squared errors, and their end, in a fixed order.
XS_HD inline void step_partial_sum(const FusedStepArgs& a, const StepScratch& s, int64_t i) {
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

// Number `i` of the shader's fixed-point gradients into the caller's.
XS_HD inline void step_unfix(const FusedStepArgs& a, const StepScratch& s,
                             const StepGradients& sizes, int64_t i) {
    const float value = from_fixed(s.fixed[i]);
    if (i < sizes.weights) {
        a.grad_weights[i] += value;
    } else if (i < sizes.weights + sizes.exposure) {
        a.grad_exposure[i - sizes.weights] += value;
    } else {
        a.grad_light[i - sizes.weights - sizes.exposure] += value;
    }
}

// The touched rows of byte `i` of the touched bits: Adam's step unless the loss is no number, and
// gradient and bits cleared.
template <int F>
XS_HD inline void step_rows(const FusedStepArgs& a, const AdamArgs& adam, int64_t i) {
    const uint8_t bits = a.touched[i];
    if (bits == 0) {
        return;
    }
    a.touched[i] = 0;
    const bool moves = a.sums[0] - a.sums[0] == 0.0;
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
        } else {
            const float none[F] = {};
            row_load<F>(a.gradient + row * F, grad);
            row_store<F>(a.gradient + row * F, none);
        }
        if (moves) {
            adam_lazy_row<F>(adam, row, grad);
        }
    }
}

// Whether the device can take rows whole.
inline bool step_rows_aligned(const FusedStepArgs& a) {
    return rows_aligned(a.table, a.width, a.width) &&
           rows_aligned(a.first, a.first_stride, a.width) &&
           rows_aligned(a.second, a.second_stride, a.width) &&
           rows_aligned(a.gradient, a.width, a.width);
}

inline AdamArgs step_adam_args(const FusedStepArgs& a) {
    AdamArgs adam{};
    adam.param = a.table;
    adam.first = a.first;
    adam.second = a.second;
    adam.steps = a.steps;
    adam.first_stride = a.first_stride;
    adam.second_stride = a.second_stride;
    adam.steps_stride = a.steps_stride;
    adam.width = a.width;
    adam.learning_rate = a.learning_rate;
    adam.beta1 = a.beta1;
    adam.beta2 = a.beta2;
    adam.epsilon = a.epsilon;
    return adam;
}

}  // namespace xs
