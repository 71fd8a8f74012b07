// shade_film on the CPU: chunks of rays over threads.
#include <cstring>

#include "isa.h"
#include "launcher.h"
#include "shade/film.h"
#include "shade/film_block.h"
#include "shade/pieces.h"

namespace xs {

// Frequencies of the direction layers are the mapping's output times kGain plus kOffset.
static constexpr float kGain = 15.0f;
static constexpr float kOffset = 30.0f;

ShadeFilmNet::ShadeFilmNet(int32_t features, int32_t hidden_width)
    : width(features), hidden(hidden_width), packed(nullptr) {
    int64_t next = 0;
    int64_t flat = 0;
    for (int i = 0; i < kLayers; ++i) {
        FilmLayer& layer = layers[i];
        layer.outputs = i == kColour ? 3 : hidden;
        layer.inputs = i == kFeature1 ? width : i == kDirection1 ? 3 : hidden;
        layer.stride = padded_to_16(layer.inputs);
        layer.weight = next;
        next += static_cast<int64_t>(layer.outputs) * layer.stride;
        layer.bias = next;
        next += padded_to_16(layer.outputs);
        // The flat vector has M2's four matrices together, then their biases.
        const int64_t size = static_cast<int64_t>(layer.outputs) * layer.inputs;
        const int part = i - kFrequency1;
        if (part < 0 || part > 3) {
            layer.flat_weight = flat;
            layer.flat_bias = flat + size;
            flat += size + layer.outputs;
        } else {
            layer.flat_weight = flat + part * size;
            layer.flat_bias = flat + 4 * size + part * layer.outputs;
            flat += part == 3 ? 4 * (size + layer.outputs) : 0;
        }
    }
    gradient_size = next;
    for (int i = 0; i < kLayers; ++i) {
        layers[i].transposed = next;
        next += static_cast<int64_t>(layers[i].outputs) * layers[i].stride;
    }
    packed_size = next;
    // The head's arrays, then activations and gradients (ShadeFilmScratch in shade_film_simd.cpp).
    constexpr int64_t kHeadFloats = 64 * kShadeLaneRays;
    constexpr int64_t kArrays = 21;
    scratch_size = kHeadFloats + kArrays * kShadeGap +
                   static_cast<int64_t>(kShadeRays) * (2 * padded_to_16(width) + 16 + 18 * hidden);
}

// Factor and summand that packing applies to output `row` of layer `i`.
struct Fold {
    float factor, summand;
};

static Fold fold_of(const ShadeFilmNet& net, int i, int32_t row, const float* light) {
    if (i == ShadeFilmNet::kFeature1 || i == ShadeFilmNet::kFeature2) {
        const int32_t at = i * net.hidden + row;
        return {light[at], light[2 * net.hidden + at]};
    }
    if (i == ShadeFilmNet::kFrequency1 || i == ShadeFilmNet::kFrequency2) {
        return {kGain, kOffset};
    }
    return {1.0f, 0.0f};
}

void shade_film_pack(const ShadeFilmNet& net, const float* weights, const float* light,
                     float* packed) {
    std::memset(packed, 0, net.packed_size * sizeof(float));
    for (int i = 0; i < ShadeFilmNet::kLayers; ++i) {
        const FilmLayer& layer = net.layers[i];
        for (int32_t row = 0; row < layer.outputs; ++row) {
            const Fold fold = fold_of(net, i, row, light);
            const float* from = weights + layer.flat_weight + row * layer.inputs;
            for (int32_t column = 0; column < layer.inputs; ++column) {
                const float value = fold.factor * from[column];
                packed[layer.weight + row * layer.stride + column] = value;
                packed[layer.transposed + column * layer.outputs + row] = value;
            }
            packed[layer.bias + row] = fold.factor * weights[layer.flat_bias + row] + fold.summand;
        }
    }
}

void shade_film_add_gradient(const ShadeFilmNet& net, const float* weights, const float* light,
                             const float* gradient, float* grad_weights, float* grad_light) {
    for (int i = 0; i < ShadeFilmNet::kLayers; ++i) {
        const FilmLayer& layer = net.layers[i];
        for (int32_t row = 0; row < layer.outputs; ++row) {
            const Fold fold = fold_of(net, i, row, light);
            const int64_t begin = layer.flat_weight + static_cast<int64_t>(row) * layer.inputs;
            const int64_t bias = layer.flat_bias + row;
            const float* from = gradient + layer.weight + row * layer.stride;
            const float bias_gradient = gradient[layer.bias + row];
            double frequency_gradient = static_cast<double>(bias_gradient) * weights[bias];
            for (int32_t column = 0; column < layer.inputs; ++column) {
                grad_weights[begin + column] += fold.factor * from[column];
                frequency_gradient += static_cast<double>(from[column]) * weights[begin + column];
            }
            grad_weights[bias] += fold.factor * bias_gradient;
            if (i == ShadeFilmNet::kFeature1 || i == ShadeFilmNet::kFeature2) {
                const int32_t at = i * net.hidden + row;
                grad_light[at] += static_cast<float>(frequency_gradient);
                grad_light[2 * net.hidden + at] += bias_gradient;
            }
        }
    }
}

static ShadeFilmNet packed_net(const ShadeArgs& a) {
    static thread_local ShadeBuffer packed;
    ShadeFilmNet net(a.width, a.hidden);
    float* buffer = packed.get(net.packed_size);
    shade_film_pack(net, a.weights, a.light, buffer);
    net.packed = buffer;
    return net;
}

void shade_film_cpu(const ShadeArgs& a) {
    const ShadeFilmNet net = packed_net(a);
    const auto run = XS_PICK(shade_film_chunk_forward);
    shade_forward(a, a.width, net.scratch_size,
                  [&](const ShadeChunk& chunk, float* scratch) { run(net, chunk, scratch); });
}

void shade_film_gradient_cpu(const ShadeArgs& a) {
    const ShadeFilmNet net = packed_net(a);
    const auto run = XS_PICK(shade_film_chunk_gradient);
    shade_gradient(
        a, a.width, 2 * a.hidden, net.scratch_size, net.gradient_size,
        [&](const ShadeChunk& chunk, float* scratch, float* gradient) {
            run(net, chunk, scratch, gradient);
        },
        [&](const float* gradient) {
            shade_film_add_gradient(net, a.weights, a.light, gradient, a.grad_weights,
                                    a.grad_light);
        });
}

int64_t shade_film_scratch(const ShadeArgs& a) {
    return shade_film_pass_scratch<true>(HostLauncher(), a);
}

void shade_film_emulated(const ShadeArgs& a) {
    shade_film_pass<false>(HostLauncher(), a);
}

void shade_film_gradient_emulated(const ShadeArgs& a) {
    shade_film_pass<true>(HostLauncher(), a);
}

}  // namespace xs
