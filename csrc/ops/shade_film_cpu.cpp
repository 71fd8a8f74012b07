#include <cstring>

#include "isa.h"
#include "ops/shade_film.h"
#include "ops/shade_pieces.h"

namespace xs {

// Frequencies of the direction layers are the mapping's output times kGain plus kOffset.
static constexpr float kGain = 15.0f;
static constexpr float kOffset = 30.0f;

ShadeFilmNet::ShadeFilmNet(int32_t features, int32_t hidden_width)
    : width(features), hidden(hidden_width), packed(nullptr) {
    const int32_t sizes[kLayers][2] = {{hidden, width},      {hidden, hidden}, {hidden, hidden},
                                       {4 * hidden, hidden}, {hidden, 3},      {hidden, hidden},
                                       {3, hidden}};
    int64_t next = 0;
    for (int i = 0; i < kLayers; ++i) {
        FilmLayer& layer = layers[i];
        layer.outputs = sizes[i][0];
        layer.inputs = sizes[i][1];
        layer.stride = padded_to_16(layer.inputs);
        layer.weight = next;
        next += static_cast<int64_t>(layer.outputs) * layer.stride;
        layer.bias = next;
        next += padded_to_16(layer.outputs);
    }
    gradient_size = next;
    for (int i = 0; i < kLayers; ++i) {
        layers[i].transposed = next;
        next += static_cast<int64_t>(layers[i].outputs) * layers[i].stride;
    }
    packed_size = next;
    // The head's arrays, then activations and gradients (ShadeFilmScratch in shade_film_simd.cpp).
    constexpr int64_t kHeadFloats = 64 * kShadeLaneRays;
    scratch_size = kHeadFloats +
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
    if (i == ShadeFilmNet::kMapping2 && row < 2 * net.hidden) {
        return {kGain, kOffset};
    }
    return {1.0f, 0.0f};
}

void shade_film_pack(const ShadeFilmNet& net, const float* weights, const float* light,
                     float* packed) {
    std::memset(packed, 0, net.packed_size * sizeof(float));
    for (int i = 0; i < ShadeFilmNet::kLayers; ++i) {
        const FilmLayer& layer = net.layers[i];
        const float* bias = weights + static_cast<int64_t>(layer.outputs) * layer.inputs;
        for (int32_t row = 0; row < layer.outputs; ++row) {
            const Fold fold = fold_of(net, i, row, light);
            for (int32_t column = 0; column < layer.inputs; ++column) {
                const float value = fold.factor * *weights++;
                packed[layer.weight + row * layer.stride + column] = value;
                packed[layer.transposed + column * layer.outputs + row] = value;
            }
            packed[layer.bias + row] = fold.factor * bias[row] + fold.summand;
        }
        weights += layer.outputs;
    }
}

void shade_film_add_gradient(const ShadeFilmNet& net, const float* weights, const float* light,
                             const float* gradient, float* grad_weights, float* grad_light) {
    for (int i = 0; i < ShadeFilmNet::kLayers; ++i) {
        const FilmLayer& layer = net.layers[i];
        const int64_t count = static_cast<int64_t>(layer.outputs) * layer.inputs;
        for (int32_t row = 0; row < layer.outputs; ++row) {
            const Fold fold = fold_of(net, i, row, light);
            const float* from = gradient + layer.weight + row * layer.stride;
            const float* weight = weights + row * layer.inputs;
            const float bias_gradient = gradient[layer.bias + row];
            double frequency_gradient = static_cast<double>(bias_gradient) * weights[count + row];
            for (int32_t column = 0; column < layer.inputs; ++column) {
                grad_weights[row * layer.inputs + column] += fold.factor * from[column];
                frequency_gradient += static_cast<double>(from[column]) * weight[column];
            }
            grad_weights[count + row] += fold.factor * bias_gradient;
            if (i == ShadeFilmNet::kFeature1 || i == ShadeFilmNet::kFeature2) {
                const int32_t at = i * net.hidden + row;
                grad_light[at] += static_cast<float>(frequency_gradient);
                grad_light[2 * net.hidden + at] += bias_gradient;
            }
        }
        weights += count + layer.outputs;
        grad_weights += count + layer.outputs;
    }
}

static ShadeFilmNet packed_net(const ShadeFilmArgs& a) {
    static thread_local ShadeBuffer packed;
    ShadeFilmNet net(a.width, a.hidden);
    float* buffer = packed.get(net.packed_size);
    shade_film_pack(net, a.weights, a.light, buffer);
    net.packed = buffer;
    return net;
}

void shade_film_cpu(const ShadeFilmArgs& a) {
    const ShadeFilmNet net = packed_net(a);
    const auto run = XS_PICK(shade_film_chunk_forward);
    shade_forward(a, a.width, net.scratch_size,
                  [&](const ShadeChunk& chunk, float* scratch) { run(net, chunk, scratch); });
}

void shade_film_gradient_cpu(const ShadeFilmArgs& a) {
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

}  // namespace xs
