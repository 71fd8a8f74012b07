// Scratch memory of fused_step's device passes.
#pragma once

#include "fused/step_io.h"
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
    float* coarse;      // [coarse_rows, width] gradient of the first levels, where that of the
                        // others is half floats: their rows have more touches than those can add
    int64_t coarse_rows;
    char* blocks;  // memory of the blocks, where the device has too little shared memory
};

// Pieces of the sums over the rays.
constexpr int64_t kStepSums = 4096;

// Levels and rows whose gradient is never half floats. A sum of those stands still once it is 2048
// times what is added, which rows of coarse levels reach in large batches.
constexpr int32_t kCoarseLevels = 4;
constexpr int64_t kCoarseRows = 1 << 18;

inline int64_t step_coarse_rows(const FusedStepArgs& a) {
    int64_t rows = 0;
    for (int32_t l = 1; l <= kCoarseLevels && l <= a.grid.levels; ++l) {
        rows = a.grid.offsets[l] <= kCoarseRows ? a.grid.offsets[l] : rows;
    }
    return a.gradient_half == nullptr ? 0 : rows;
}

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
    s.coarse_rows = step_coarse_rows(a);
    s.coarse =
        reinterpret_cast<float*>(take(s.coarse_rows * a.grid.width * int64_t{sizeof(float)}));
    s.blocks = next;
    return next - static_cast<char*>(memory);
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

}  // namespace xs
