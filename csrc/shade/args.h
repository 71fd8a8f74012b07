// Arguments of both shaders: rays with their features, the network's weights, what is wanted of
// them.
#pragma once

#include "block.h"
#include "fields.h"

namespace xs {

struct ShadeArgs {
    const float* features;   // [rays, width]
    const float* direction;  // [rays, 3]
    const float* weights;    // flat
    const float* light;      // film: [4, hidden] frequencies of layers 1 and 2, then phases
    const float* exposure;   // relu: [photos, 12]; film: [photos, 2 hidden] shift, then log scale;
                             // or null
    const int32_t* photo;    // [rays], -1 or below photos; null without exposure
    const float* grad_rgb;   // [rays, 3] for kLossGiven
    const float* target;     // [rays, 3], or
    const uint8_t* target_bytes;  // [rays, 3]
    const float* ray_weight;      // [rays] or null
    float* rgb;                   // [rays, 3]; null in backward
    float* ray_loss;              // [rays] or null
    float* grad_features;         // [rays, width] written
    float* grad_weights;          // flat, added to
    float* grad_light;            // film: [4, hidden] added to
    float* grad_exposure;         // like exposure, added to; or null
    int64_t rays;
    int32_t width;      // features a ray, a multiple of 4
    int32_t hidden;     // a multiple of 16
    int32_t sh_degree;  // relu: 1 to 4
    int32_t photos;
    int32_t loss;  // a ShadeLoss
    float scale;
    uint8_t* scratch;  // device kernels only: memory of the blocks that shared memory cannot hold

    // Fields that fused_step adds for its device kernels; other callers leave it empty.
    struct Device {
        BlockSums sums;       // how gradients are added
        const double* mixed;  // a StepControl whose factor the gradients carry; null: none
        float* block_sums;    // film: [blocks, weights]; null: gradients of weights are added to at
                              // once
    } device;

    XS_FIELDS(features, direction, weights, light, exposure, photo, grad_rgb, target, target_bytes,
              ray_weight, rgb, ray_loss, grad_features, grad_weights, grad_light, grad_exposure,
              rays, width, hidden, sh_degree, photos, loss, scale, scratch)
    static constexpr int kUnlisted = 1;  // device
};

}  // namespace xs
