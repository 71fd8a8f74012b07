// The end of both shaders, for a chunk: last layer's outputs to colour, and colour back to the
// gradient of those outputs. Arrays have one row a channel, so vectors run along rays.
#pragma once

#include "shade/chunk.h"
#include "shade/vector.h"

namespace xs {
namespace XS_ISA {

// kAffine: per-photo affine in linear light, open-ended sRGB curve. kClipped: the published head,
// sRGB clipped to [0, 1], times 1.002 minus 0.001.
enum class Head { affine, clipped };

constexpr int kExposureSize = 12;

struct HeadScratch {
    float raw[3][kShadeLaneRays];    // in: last layer's outputs
    float light[3][kShadeLaneRays];  // sigmoid(raw)
    float slope[3][kShadeLaneRays];  // d rgb / d (exposed light)
    float rgb[3][kShadeLaneRays];
    float exposure[kExposureSize][kShadeLaneRays];
    float grad[3][kShadeLaneRays];
    float grad_raw[kShadeLaneRays][4];  // out, one row a ray
};

static inline void load_exposure(const ShadeChunk& chunk, HeadScratch& s) {
    for (int r = 0; r < chunk.rays; ++r) {
        const int32_t photo = chunk.photo[r];
        const float* row = chunk.exposure + static_cast<int64_t>(photo) * kExposureSize;
        for (int j = 0; j < kExposureSize; ++j) {
            s.exposure[j][r] = photo < 0 ? (j % 5 == 0 ? 1.0f : 0.0f) : row[j];
        }
    }
}

template <Head kHead>
static inline void head_forward(const ShadeChunk& chunk, HeadScratch& s) {
    const bool exposed = kHead == Head::affine && chunk.exposure != nullptr;
    if (exposed) {
        load_exposure(chunk, s);
    }
    for (int r = 0; r < chunk.rays; r += kLanes) {
        V light[3];
        for (int c = 0; c < 3; ++c) {
            light[c] = sigmoid<VectorMath>(load(&s.raw[c][r]));
            store(&s.light[c][r], light[c]);
        }
        for (int c = 0; c < 3; ++c) {
            V linear = light[c];
            if (exposed) {
                linear = load(&s.exposure[4 * c + 3][r]);
                for (int j = 0; j < 3; ++j) {
                    linear = fma(load(&s.exposure[4 * c + j][r]), light[j], linear);
                }
            }
            V value, slope;
            srgb_curve<VectorMath>(linear, value, slope);
            if constexpr (kHead == Head::clipped) {
                slope = (value < 0.0f) | (value > 1.0f) ? V{} : 1.002f * slope;
                value = value < 0.0f ? V{} : value;
                value = value > 1.0f ? splat(1.0f) : value;
                value = 1.002f * value - 0.001f;
            }
            store(&s.rgb[c][r], value);
            store(&s.slope[c][r], slope);
        }
    }
    if (chunk.rgb != nullptr) {
        for (int r = 0; r < chunk.rays; ++r) {
            for (int c = 0; c < 3; ++c) {
                chunk.rgb[3 * r + c] = s.rgb[c][r];
            }
        }
    }
}

// Fills s.grad with the loss's gradient in rgb, and chunk.ray_loss.
static inline void loss_gradient(const ShadeChunk& chunk, HeadScratch& s) {
    for (int r = 0; r < chunk.rays; ++r) {
        for (int c = 0; c < 3; ++c) {
            const int i = 3 * r + c;
            s.grad[c][r] = chunk.loss == kLossGiven ? chunk.grad_rgb[i]
                           : chunk.target != nullptr
                               ? chunk.target[i]
                               : static_cast<float>(chunk.target_bytes[i]) / 255.0f;
        }
    }
    if (chunk.loss == kLossGiven) {
        return;
    }
    alignas(64) float mean[kShadeLaneRays];
    for (int r = 0; r < chunk.rays; r += kLanes) {
        V sum{};
        for (int c = 0; c < 3; ++c) {
            V loss, slope;
            shade_loss<VectorMath>(chunk.loss, load(&s.rgb[c][r]) - load(&s.grad[c][r]), loss,
                                   slope);
            sum += loss;
            store(&s.grad[c][r], slope * (chunk.scale / 3.0f));
        }
        store(mean + r, sum * (1.0f / 3.0f));
    }
    for (int r = 0; r < chunk.rays; ++r) {
        if (chunk.ray_loss != nullptr) {
            chunk.ray_loss[r] = mean[r];
        }
        if (chunk.ray_weight != nullptr) {
            for (int c = 0; c < 3; ++c) {
                s.grad[c][r] *= chunk.ray_weight[r];
            }
        }
    }
}

// After head_forward: fills s.grad_raw, and adds to chunk.grad_exposure (affine head).
template <Head kHead>
static inline void head_backward(const ShadeChunk& chunk, HeadScratch& s) {
    const bool exposed = kHead == Head::affine && chunk.exposure != nullptr;
    loss_gradient(chunk, s);
    for (int r = 0; r < chunk.rays; r += kLanes) {
        V exposed_grad[3], light_grad[3];
        for (int c = 0; c < 3; ++c) {
            exposed_grad[c] = load(&s.grad[c][r]) * load(&s.slope[c][r]);
            store(&s.grad[c][r], exposed_grad[c]);
        }
        for (int c = 0; c < 3; ++c) {
            light_grad[c] = exposed_grad[c];
            if (exposed) {
                light_grad[c] = load(&s.exposure[c][r]) * exposed_grad[0];
                light_grad[c] = fma(load(&s.exposure[4 + c][r]), exposed_grad[1], light_grad[c]);
                light_grad[c] = fma(load(&s.exposure[8 + c][r]), exposed_grad[2], light_grad[c]);
            }
            const V light = load(&s.light[c][r]);
            store(&s.raw[c][r], light_grad[c] * light * (1.0f - light));
        }
    }
    for (int r = 0; r < chunk.rays; ++r) {
        for (int c = 0; c < 3; ++c) {
            s.grad_raw[r][c] = s.raw[c][r];
        }
    }
    if (!exposed || chunk.slot == nullptr) {
        return;
    }
    for (int r = 0; r < chunk.rays; ++r) {
        if (chunk.slot[r] < 0) {
            continue;
        }
        float* row = chunk.grad_exposure + static_cast<int64_t>(chunk.slot[r]) * kExposureSize;
        for (int c = 0; c < 3; ++c) {
            for (int j = 0; j < 3; ++j) {
                row[4 * c + j] += s.grad[c][r] * s.light[j][r];
            }
            row[4 * c + 3] += s.grad[c][r];
        }
    }
}

}  // namespace XS_ISA
}  // namespace xs
