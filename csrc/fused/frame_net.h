// The shader's weights as fused_frame's device kernel reads them: packed once a call as half
// floats, in the order in which the lanes of a warp load them, with all that a picture has one of
// (light, exposure) multiplied in.
#pragma once

#include "fused/frame.h"
#include "shade/film_block.h"
#include "shade/relu_block.h"
#include "warp.h"

namespace xs {

// Numbers between rows of a layer's inputs beyond the inputs: rows then begin in other banks.
constexpr int kFrameGap = 8;
constexpr int kFrameLayers = 8;

// A matrix of the packed weights: half floats in steps of 16 inputs by tiles of 8 outputs.
struct FrameLayer {
    int32_t steps;
    int64_t weight, bias;  // where they begin, in half floats and in floats
};

// Sizes that the kernels need, and the packed weights.
struct FrameNet {
    enum { kFirst, kSecond, kMapping, kFrequency1, kFrequency2, kPhase1, kPhase2, kDirection };
    FrameLayer layers[kFrameLayers];
    int32_t count;
    int32_t width, padded, hidden;
    int32_t stride_x, stride_y;  // of the two buffers of layer inputs, in half floats
    int64_t direction, colour;   // float layers in the flat weights
    int64_t halves, floats;      // of the packed weights
    Half* weights;
    float* biases;

    int64_t bytes() const {  // of a warp's memory
        return kWarpLanes * ((stride_x + stride_y) * int64_t{sizeof(Half)} + 3 * sizeof(float));
    }
    XS_HD int64_t packed_bytes() const {  // a multiple of 16
        return halves * int64_t{sizeof(Half)} + floats * int64_t{sizeof(float)};
    }
};

XS_HD inline int32_t frame_padded(int32_t channels) {
    return (channels + 15) / 16 * 16;
}

XS_HD inline ShadeReluLayers frame_relu_layers(const FusedFrameArgs& a) {
    return shade_relu_layers(a.grid.levels * a.grid.width, a.shade.hidden, a.shade.sh_degree);
}

XS_HD inline ShadeFilmLayers frame_film_layers(const FusedFrameArgs& a) {
    return shade_film_layers(a.grid.levels * a.grid.width, a.shade.hidden);
}

inline FrameNet frame_net(const FusedFrameArgs& a) {
    FrameNet net{};
    const bool relu = a.shader == kFrameRelu;
    net.width = a.grid.levels * a.grid.width;
    net.padded = frame_padded(net.width);
    net.hidden = a.shade.hidden;
    net.count = relu ? 2 : kFrameLayers;
    for (int i = 0; i < net.count; ++i) {
        const int32_t inputs = i == FrameNet::kFirst ? net.padded
                               : relu                ? net.hidden + kMaxHarmonics
                                                     : net.hidden;
        net.layers[i] = {inputs / 16, net.halves, net.floats};
        net.halves += int64_t{inputs} * net.hidden;
        net.floats += net.hidden;
    }
    const int32_t wide = relu ? net.hidden : 2 * net.hidden;
    net.stride_x = (net.padded > wide ? net.padded : wide) + kFrameGap;
    net.stride_y = net.hidden + (relu ? kMaxHarmonics : 0) + kFrameGap;
    if (relu) {
        net.colour = frame_relu_layers(a).colour.weight;
    } else {
        net.direction = frame_film_layers(a).direction1.weight;
        net.colour = frame_film_layers(a).colour.weight;
    }
    return net;
}

// Points the net to its weights in `memory`, 16-byte aligned.
inline void frame_place(FrameNet& net, void* memory) {
    net.weights = static_cast<Half*>(memory);
    net.biases = reinterpret_cast<float*>(net.weights + net.halves);
}

// Parts of a layer's row: factors of the flat row's numbers and bias, and what is added.
struct FrameRow {
    int64_t weight, bias;  // the flat row and its bias
    int32_t inputs;
    float factor, shift;    // of the whole row; shift is added to the bias
    const float* exposure;  // of the inputs: log scales, `hidden` after shifts; or null
};

XS_HD inline FrameRow frame_row(const FusedFrameArgs& a, int index, int32_t row) {
    using N = FrameNet;
    const auto of = [row](const TileLayer& layer, float factor, float shift) {
        return FrameRow{layer.weight + static_cast<int64_t>(row) * layer.inputs,
                        layer.bias + row,
                        layer.inputs,
                        factor,
                        shift,
                        nullptr};
    };
    if (a.shader == kFrameRelu) {
        const ShadeReluLayers l = frame_relu_layers(a);
        return of(index == N::kFirst ? l.first : l.second, 1.0f, 0.0f);
    }
    const ShadeFilmLayers l = frame_film_layers(a);
    if (index == N::kFirst || index == N::kSecond) {
        const float* light = a.shade.light + index * static_cast<int64_t>(a.shade.hidden) + row;
        return of(index == N::kFirst ? l.feature1 : l.feature2, light[0],
                  light[2 * a.shade.hidden]);
    }
    if (index == N::kMapping) {
        FrameRow mapping = of(l.mapping1, 1.0f, 0.0f);
        mapping.exposure = a.shade.exposure;
        return mapping;
    }
    if (index == N::kDirection) {
        return of(l.direction2, 1.0f, 0.0f);
    }
    row += (index - N::kFrequency1) * a.shade.hidden;
    const bool frequency = index <= N::kFrequency2;
    return {l.mapping2.weight + static_cast<int64_t>(row) * l.mapping2.inputs,
            l.mapping2.bias + row,
            l.mapping2.inputs,
            frequency ? 15.0f : 1.0f,
            frequency ? 30.0f : 0.0f,
            nullptr};
}

// Packs number `i` of net.halves + net.floats.
XS_HD inline void frame_pack(const FusedFrameArgs& a, const FrameNet& net, int64_t i) {
    const bool is_bias = i >= net.halves;
    const int64_t at = is_bias ? i - net.halves : i;
    int index = net.count - 1;
    while (at < (is_bias ? net.layers[index].bias : net.layers[index].weight)) {
        --index;
    }
    const FrameLayer& layer = net.layers[index];
    if (is_bias) {
        const FrameRow row = frame_row(a, index, static_cast<int32_t>(at - layer.bias));
        float bias = row.factor * a.shade.weights[row.bias] + row.shift;
        for (int32_t k = 0; row.exposure != nullptr && k < row.inputs; ++k) {
            bias += a.shade.weights[row.weight + k] * row.exposure[k];
        }
        net.biases[at] = bias;
        return;
    }
    // Four numbers of a lane, of the 32 lanes, of the tiles of outputs, of the steps of inputs.
    const int64_t place = at - layer.weight;
    const int pair = static_cast<int>(place / 2 % 2);
    const int lane = static_cast<int>(place / 4 % kWarpLanes);
    const int64_t tile = place / 4 / kWarpLanes;
    const int32_t tiles = net.hidden / 8;
    const int32_t output = static_cast<int32_t>(tile % tiles) * 8 + lane / 4;
    const int32_t input = static_cast<int32_t>(tile / tiles) * 16 + mma_column(lane, 0) + 8 * pair +
                          static_cast<int32_t>(place % 2);
    const FrameRow row = frame_row(a, index, output);
    float weight = 0.0f;
    if (input < row.inputs) {
        weight = row.factor * a.shade.weights[row.weight + input];
        if (row.exposure != nullptr) {
            weight *= expf(row.exposure[a.shade.hidden + input]);
        }
    }
    net.weights[at] = float_to_half(weight);
}

}  // namespace xs
