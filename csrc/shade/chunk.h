// Arguments of the shaders' chunk functions: a few dozen rays whose inputs and outputs lie in
// cache.
#pragma once

#include <cstdint>

namespace xs {

// Most rays of a chunk: activations stay in the second-level cache, weights in the first.
constexpr int32_t kShadeRays = 96;

struct ShadeChunk {
    int32_t rays;            // 1 to kShadeRays
    const float* features;   // [rays, features]
    const float* direction;  // [rays, 3] unit, camera to point
    const float* exposure;   // [photos, width], the op says which numbers; null: none
    const int32_t* photo;    // [rays] row of exposure, -1: identity; null: none
    float* rgb;              // [rays, 3] out; may be null in a gradient chunk

    // Gradient chunks only. Either grad_rgb (kLossGiven) or one of the two targets.
    int32_t loss;                 // a ShadeLoss
    const float* grad_rgb;        // [rays, 3]
    const float* target;          // [rays, 3]
    const uint8_t* target_bytes;  // [rays, 3], 255 is 1
    const float* ray_weight;      // [rays] factor of the ray's loss; null: 1
    float scale;                  // factor of all losses, in the gradient only
    float* ray_loss;              // [rays] out: mean over channels, no factors; null: not wanted
    float* grad_features;         // [rays, features] out
    const int32_t* slot;          // [rays] row of grad_exposure, -1: none; null: not wanted
    float* grad_exposure;         // [slots, width] added to
};

// Rays to the next multiple of 16: the stride of arrays with one row a channel.
constexpr int32_t kShadeLaneRays = (kShadeRays + 15) / 16 * 16;

// Gap between a chunk's arrays, in floats: without it all of them begin at the same place of a 4 KB
// page, where loads wait for unrelated stores.
constexpr int32_t kShadeGap = 80;

constexpr int32_t padded_to_16(int32_t n) {
    return (n + 15) / 16 * 16;
}

}  // namespace xs
