// Pieces of the shaders' device kernels: a block of threads takes a tile of 32 rays through dense
// layers whose activations stay in the block's memory, [channels] rows of kTileStride floats.
#pragma once

#include "adam/control.h"
#include "block.h"
#include "shade/args.h"
#include "shade/math.h"

namespace xs {

constexpr int kTileRays = 32;
// One more than the rays: threads that walk along channels then hit different memory banks.
constexpr int kTileStride = kTileRays + 1;
// Outputs that a thread computes from one read of an input.
constexpr int kTileOutputs = 4;
constexpr int kExposureNumbers = 12;
constexpr int kTileLayers = 7;  // of a shader, at most

// One matrix [outputs, inputs] with its bias as they lie in the flat weights.
struct TileLayer {
    int32_t outputs, inputs;
    int64_t weight, bias;  // offsets in the flat vector
    int32_t index;         // among the shader's layers
    bool floats;  // never of half floats: a compiler's constant, so that one kind is compiled

    XS_HD int64_t end() const { return bias + outputs; }
};

XS_HD inline TileLayer tile_layer(int32_t index, int64_t begin, int32_t outputs, int32_t inputs,
                                  bool floats = false) {
    return {outputs, inputs, begin, begin + static_cast<int64_t>(outputs) * inputs, index, floats};
}

// Where a block gathers the gradients of weights over all its tiles: in its own memory, or at once
// in the caller's where that does not fit.
struct TileSums {
    float* own;     // null: none
    float* shared;  // the caller's
    BlockSums sums;
    bool far;  // `own` lies in global memory; a compiler's constant

    XS_HD void add(int64_t i, float value) const {
        if (own == nullptr) {
            sums.add(shared + i, value);
        } else if (far) {
            // A number has one thread, so this needs no atomic; but nothing waits for one.
            shared_add(own + i, value);
        } else {
            own[i] += value;
        }
    }
};

template <class Block>
XS_HD inline void tile_clear(const Block& block, float* values, int64_t count) {
    block.phase([&](int thread) {
        for (int64_t i = thread; i < count; i += kBlockThreads) {
            values[i] = 0.0f;
        }
    });
}

template <class Block>
XS_HD inline void tile_flush(const Block& block, const TileSums& to, int64_t count) {
    block.phase([&](int thread) {
        for (int64_t i = thread; i < count; i += kBlockThreads) {
            to.sums.add(to.shared + i, to.own[i]);
        }
    });
}

// Rows of a tensor [rays, width] into a tile's channels and back; rays past the end are zero.
template <class Block>
XS_HD inline void tile_load(const Block& block, const float* rows, int32_t width, int rays,
                            float* tile) {
    block.phase([&](int thread) {
        for (int i = thread; i < kTileRays * width; i += kBlockThreads) {
            const int ray = i / width, channel = i % width;
            tile[channel * kTileStride + ray] = ray < rays ? rows[i] : 0.0f;
        }
    });
}

template <class Block>
XS_HD inline void tile_store(const Block& block, const float* tile, int32_t width, int rays,
                             float* rows) {
    block.phase([&](int thread) {
        for (int i = thread; i < rays * width; i += kBlockThreads) {
            rows[i] = tile[i % width * kTileStride + i / width];
        }
    });
}

// Where a shader's rays come from and their gradients go: rows of tensors. fused_step has another.
struct TensorIo {
    const ShadeArgs& a;

    // Features and directions of a tile; `extra` is memory of the block beside the shader's.
    template <class Block>
    XS_HD void load(const Block& block, float*, int64_t ray, int rays, float* features,
                    float* direction) const {
        tile_load(block, a.features + ray * a.width, a.width, rays, features);
        tile_load(block, a.direction + ray * 3, 3, rays, direction);
    }

    template <class Block>
    XS_HD void store(const Block& block, float*, int64_t ray, int rays, const float* grad) const {
        tile_store(block, grad, a.width, rays, a.grad_features + ray * a.width);
    }
};

// body(place) for every number of `channels` rows of a tile; place is the index into the tile.
template <class Block, class Body>
XS_HD inline void tile_each(const Block& block, int channels, const Body& body) {
    block.phase([&](int thread) {
        for (int i = thread; i < channels * kTileRays; i += kBlockThreads) {
            body(i / kTileRays * kTileStride + i % kTileRays, i / kTileRays, i % kTileRays);
        }
    });
}

// output = W input + bias, each number through finish(channel, place, value).
template <class Block, class Finish>
XS_HD inline void tile_dense(const Block& block, const TileLayer& layer, const float* weights,
                             const float* input, const Finish& finish) {
    block.phase([&](int thread) {
        const int ray = thread % kTileRays;
        const int step = kBlockThreads / kTileRays * kTileOutputs;
        for (int o = thread / kTileRays * kTileOutputs; o < layer.outputs; o += step) {
            const int outputs = layer.outputs - o < kTileOutputs ? layer.outputs - o : kTileOutputs;
            float sum[kTileOutputs] = {};
            const float* row = weights + layer.weight + static_cast<int64_t>(o) * layer.inputs;
            for (int k = 0; k < layer.inputs; ++k) {
                const float x = input[k * kTileStride + ray];
                for (int j = 0; j < kTileOutputs; ++j) {
                    sum[j] += j < outputs ? row[j * layer.inputs + k] * x : 0.0f;
                }
            }
            for (int j = 0; j < outputs; ++j) {
                finish(o + j, (o + j) * kTileStride + ray, sum[j] + weights[layer.bias + o + j]);
            }
        }
    });
}

// Gradient of a layer's first `inputs` inputs, each number through finish(place, value).
template <class Block, class Finish>
XS_HD inline void tile_dense_input(const Block& block, const TileLayer& layer, const float* weights,
                                   const float* grad_output, int inputs, const Finish& finish) {
    block.phase([&](int thread) {
        const int ray = thread % kTileRays;
        const int step = kBlockThreads / kTileRays * kTileOutputs;
        for (int k = thread / kTileRays * kTileOutputs; k < inputs; k += step) {
            const int count = inputs - k < kTileOutputs ? inputs - k : kTileOutputs;
            float sum[kTileOutputs] = {};
            for (int o = 0; o < layer.outputs; ++o) {
                const float g = grad_output[o * kTileStride + ray];
                const float* row = weights + layer.weight + static_cast<int64_t>(o) * layer.inputs;
                for (int j = 0; j < kTileOutputs; ++j) {
                    sum[j] += j < count ? row[k + j] * g : 0.0f;
                }
            }
            for (int j = 0; j < count; ++j) {
                finish((k + j) * kTileStride + ray, sum[j]);
            }
        }
    });
}

// A thread's share of the gradient of a layer's bias.
XS_HD inline void tile_bias_gradient(int thread, const TileLayer& layer, const float* grad_output,
                                     const TileSums& sums) {
    for (int o = thread; o < layer.outputs; o += kBlockThreads) {
        float sum = 0.0f;
        for (int ray = 0; ray < kTileRays; ++ray) {
            sum += grad_output[o * kTileStride + ray];
        }
        sums.add(layer.bias + o, sum);
    }
}

// Gradients of a layer's weights and bias. Every number has one thread, so the sums need no care.
template <class Block>
XS_HD inline void tile_dense_weights(const Block& block, const TileLayer& layer,
                                     const float* grad_output, const float* input,
                                     const TileSums& sums) {
    const int groups = (layer.outputs + kTileOutputs - 1) / kTileOutputs;
    block.phase([&](int thread) {
        for (int i = thread; i < groups * layer.inputs; i += kBlockThreads) {
            const int k = i % layer.inputs;
            const int o = i / layer.inputs * kTileOutputs;
            const int outputs = layer.outputs - o < kTileOutputs ? layer.outputs - o : kTileOutputs;
            float sum[kTileOutputs] = {};
            for (int ray = 0; ray < kTileRays; ++ray) {
                const float x = input[k * kTileStride + ray];
                for (int j = 0; j < kTileOutputs; ++j) {
                    sum[j] += j < outputs ? grad_output[(o + j) * kTileStride + ray] * x : 0.0f;
                }
            }
            for (int j = 0; j < outputs; ++j) {
                sums.add(layer.weight + static_cast<int64_t>(o + j) * layer.inputs + k, sum[j]);
            }
        }
        tile_bias_gradient(thread, layer, grad_output, sums);
    });
}

// The end of a shader: last layer's outputs to colour.
struct HeadColour {
    float light[3], slope[3], rgb[3];
};

// kClipped: the published head; otherwise the affine one (shade/head.h) with an exposure's row
// [3, 4], or null.
template <bool kClipped>
XS_HD inline void head_colour(const float* row, const float (&raw)[3], HeadColour& h) {
    for (int c = 0; c < 3; ++c) {
        h.light[c] = sigmoid<ScalarMath>(raw[c]);
    }
    for (int c = 0; c < 3; ++c) {
        float linear = h.light[c];
        if (row != nullptr) {
            linear = row[4 * c + 3];
            for (int j = 0; j < 3; ++j) {
                linear += row[4 * c + j] * h.light[j];
            }
        }
        float& rgb = h.rgb[c];
        srgb_curve<ScalarMath>(linear, rgb, h.slope[c]);
        if (kClipped) {
            h.slope[c] = rgb < 0.0f || rgb > 1.0f ? 0.0f : 1.002f * h.slope[c];
            rgb = rgb < 0.0f ? 0.0f : rgb > 1.0f ? 1.0f : rgb;
            rgb = 1.002f * rgb - 0.001f;
        }
    }
}

// The same for one ray of a batch, and back.
template <bool kClipped>
struct TileHead {
    const ShadeArgs& a;
    int64_t ray;
    const float* row;  // the photo's exposure [3, 4], or null
    HeadColour h;

    XS_HD TileHead(const ShadeArgs& args, int64_t index) : a(args), ray(index), row(nullptr) {
        if (!kClipped && a.exposure != nullptr && a.photo[ray] >= 0) {
            row = a.exposure + static_cast<int64_t>(a.photo[ray]) * kExposureNumbers;
        }
    }

    XS_HD void forward(const float* raw) {  // channels kTileStride apart
        head_colour<kClipped>(row, {raw[0], raw[kTileStride], raw[2 * kTileStride]}, h);
        for (int c = 0; c < 3 && a.rgb != nullptr; ++c) {
            a.rgb[3 * ray + c] = h.rgb[c];
        }
    }

    // After forward: raw becomes its gradient, and the photo's row gets its share.
    XS_HD void backward(float* raw) {
        float grad[3];
        float sum = 0.0f;
        const float weight = a.ray_weight == nullptr ? 1.0f : a.ray_weight[ray];
        for (int c = 0; c < 3; ++c) {
            const int64_t i = 3 * ray + c;
            if (a.loss == kLossGiven) {
                grad[c] = a.grad_rgb[i] * h.slope[c];
                continue;
            }
            const float target =
                a.target != nullptr ? a.target[i] : static_cast<float>(a.target_bytes[i]) / 255.0f;
            float loss, towards;
            shade_loss<ScalarMath>(a.loss, h.rgb[c] - target, loss, towards);
            sum += loss;
            grad[c] =
                towards * (a.scale * control_scale(a.device.mixed) / 3.0f) * weight * h.slope[c];
        }
        if (a.loss != kLossGiven && a.ray_loss != nullptr) {
            a.ray_loss[ray] = sum * (1.0f / 3.0f);
        }
        for (int c = 0; c < 3; ++c) {
            float g = grad[c];
            if (row != nullptr) {
                g = row[c] * grad[0] + row[4 + c] * grad[1] + row[8 + c] * grad[2];
            }
            raw[c * kTileStride] = g * h.light[c] * (1.0f - h.light[c]);
        }
        if (row == nullptr || a.grad_exposure == nullptr) {
            return;
        }
        float* to = a.grad_exposure + (row - a.exposure);
        for (int c = 0; c < 3; ++c) {
            for (int j = 0; j < 3; ++j) {
                a.device.sums.add(to + 4 * c + j, grad[c] * h.light[j]);
            }
            a.device.sums.add(to + 4 * c + 3, grad[c]);
        }
    }
};

// Colours of a tile's rays; with kGradient `raw` becomes its gradient (zero past the last ray).
template <bool kClipped, bool kGradient, class Block>
XS_HD inline void tile_head(const Block& block, const ShadeArgs& a, int64_t first, int rays,
                            float* raw) {
    block.phase([&](int thread) {
        if (thread >= kTileRays) {
            return;
        }
        if (thread >= rays) {
            for (int c = 0; c < 3; ++c) {
                raw[c * kTileStride + thread] = 0.0f;
            }
            return;
        }
        TileHead<kClipped> head(a, first + thread);
        head.forward(raw + thread);
        if (kGradient) {
            head.backward(raw + thread);
        }
    });
}

// Floats of a block for `channels` of activations and, where gradients are gathered, `gradients`.
XS_HD inline int64_t tile_memory(int64_t channels, int64_t gradients) {
    return channels * kTileStride + gradients;
}

// Runs body(first ray, rays) for the tiles of a block.
template <class Block, class Body>
XS_HD XS_ALWAYS_INLINE static void for_each_tile(const Block& block, int64_t rays,
                                                 const Body& body) {
    for (int64_t first = int64_t{block.index} * kTileRays; first < rays;
         first += int64_t{block.count} * kTileRays) {
        const int64_t left = rays - first;
        body(first, static_cast<int>(left < kTileRays ? left : kTileRays));
    }
}

}  // namespace xs
