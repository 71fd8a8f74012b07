// Products of the shaders' device kernels, over tiles of 32 rays whose activations are floats in
// the block's memory (shade/tiles.h): in floats, or by matrix units from half floats with float
// sums. Layers with three outputs or inputs take floats either way.
#pragma once

#include "shade/tiles.h"
#include "warp.h"

namespace xs {

// Tiles of all rays.
inline int64_t shade_tiles(const ShadeArgs& a) {
    return (a.rays + kTileRays - 1) / kTileRays;
}

struct FloatProducts {
    const float* weights;

    // As tile_dense, tile_dense_input and tile_dense_weights.
    template <class Block, class Finish>
    XS_HD void forward(const Block& block, const TileLayer& layer, const float* input,
                       const Finish& finish) const {
        tile_dense(block, layer, weights, input, finish);
    }
    template <class Block, class Finish>
    XS_HD void backward(const Block& block, const TileLayer& layer, const float* grad_output,
                        int inputs, const Finish& finish) const {
        tile_dense_input(block, layer, weights, grad_output, inputs, finish);
    }
    template <class Block>
    XS_HD void gradient(const Block& block, const TileLayer& layer, const float* grad_output,
                        const float* input, const TileSums& sums) const {
        tile_dense_weights(block, layer, grad_output, input, sums);
    }
};

// Channels are summed in steps of 16, two steps to 32 channels. Which of them are lane's: number
// `j` of 4 of this step. Any order is right if both operands have it; in this one the lanes of a
// warp read 32 banks of a tile.
XS_HD inline int half_channel(int step, int lane, int j) {
    return step / 2 * 32 + lane % 4 * 8 + step % 2 * 4 + j;
}

XS_HD inline int half_steps(int channels) {
    return (channels + 31) / 32 * 2;
}

XS_HD inline int half_tiles(int rows) {
    return (rows + 15) / 16;
}

// The weights as half floats in the order in which lanes load them, every matrix twice: for the
// products on the way forward and, transposed, on the way back.
struct HalfPlan {
    TileLayer layer[kTileLayers];
    int64_t forward[kTileLayers], backward[kTileLayers];  // where they begin; -1: not packed
    int64_t halves;
};

// Lays out the layers that matrix units take.
inline HalfPlan half_plan(const TileLayer* layers, int count) {
    HalfPlan plan{};
    for (int i = 0; i < count; ++i) {
        const TileLayer& layer = layers[i];
        plan.layer[layer.index] = layer;
        plan.forward[layer.index] = plan.backward[layer.index] = -1;
        if (layer.floats) {
            continue;
        }
        const auto size = [](int rows, int channels) {
            return int64_t{half_tiles(rows)} * half_steps(channels) * kWarpLanes * 8;
        };
        plan.forward[layer.index] = plan.halves;
        plan.halves += size(layer.outputs, layer.inputs);
        plan.backward[layer.index] = plan.halves;
        plan.halves += size(layer.inputs, layer.outputs);
    }
    return plan;
}

// Packs half float `i` of plan.halves.
XS_HD inline void half_pack(const HalfPlan& plan, const float* weights, int64_t i, Half* packed) {
    int index = 0;
    bool forward = true;
    int64_t begin = -1;
    for (int l = 0; l < kTileLayers; ++l) {  // the last part that begins at or before i
        for (int way = 0; way < 2; ++way) {
            const int64_t from = way == 0 ? plan.forward[l] : plan.backward[l];
            if (plan.layer[l].outputs > 0 && from >= 0 && from <= i && from > begin) {
                begin = from;
                index = l;
                forward = way == 0;
            }
        }
    }
    const TileLayer& layer = plan.layer[index];
    const int rows = forward ? layer.outputs : layer.inputs;
    const int channels = forward ? layer.inputs : layer.outputs;
    const int64_t place = i - begin;
    const int pair = static_cast<int>(place / 2 % 4);
    const int lane = static_cast<int>(place / 8 % kWarpLanes);
    const int64_t tile = place / 8 / kWarpLanes;
    const int steps = half_steps(channels);
    const int row = static_cast<int>(tile / steps) * 16 + lane / 4 + pair % 2 * 8;
    const int channel = half_channel(static_cast<int>(tile % steps), lane,
                                     pair / 2 * 2 + static_cast<int>(place % 2));
    const int64_t at =
        forward ? int64_t{row} * layer.inputs + channel : int64_t{channel} * layer.inputs + row;
    packed[i] = float_to_half(row < rows && channel < channels ? weights[layer.weight + at] : 0.0f);
}

struct HalfProducts {
    const float* weights;
    const Half* packed;
    int64_t forward_at[kTileLayers], backward_at[kTileLayers];

    HalfProducts(const HalfPlan& plan, const float* flat, const Half* halves)
        : weights(flat), packed(halves) {
        for (int i = 0; i < kTileLayers; ++i) {
            forward_at[i] = plan.forward[i];
            backward_at[i] = plan.backward[i];
        }
    }

    template <class Block, class Finish>
    XS_HD void forward(const Block& block, const TileLayer& layer, const float* input,
                       const Finish& finish) const {
        if (layer.floats) {
            tile_dense(block, layer, weights, input, finish);
            return;
        }
        const float* bias = weights + layer.bias;
        product<false>(block, packed + forward_at[layer.index], layer.outputs, layer.inputs, input,
                       [&](int row, int place, float sum) { finish(row, place, sum + bias[row]); });
    }

    // Gradients that leave the half floats become infinite, and all that comes of them no number.
    template <class Block, class Finish>
    XS_HD void backward(const Block& block, const TileLayer& layer, const float* grad_output,
                        int inputs, const Finish& finish) const {
        if (layer.floats) {
            tile_dense_input(block, layer, weights, grad_output, inputs, finish);
            return;
        }
        product<true>(block, packed + backward_at[layer.index], inputs, layer.outputs, grad_output,
                      [&](int, int place, float sum) { finish(place, sum); });
    }

    template <class Block>
    XS_HD void gradient(const Block& block, const TileLayer& layer, const float* grad_output,
                        const float* input, const TileSums& sums) const {
        if (layer.floats) {
            tile_dense_weights(block, layer, grad_output, input, sums);
            return;
        }
        using Warp = typename Block::Warp;
        constexpr int kTogether = 4;  // tiles of 8 inputs that share the outputs' operand
        const int tiles = half_tiles(layer.outputs);
        const int groups = (layer.inputs + 8 * kTogether - 1) / (8 * kTogether);
        block.warps([&](const Warp& warp, int index) {
            for (int job = index; job < tiles * groups; job += kBlockWarps) {
                warp.sync();  // lanes part where rows end
                const int first = job % tiles * 16;
                typename Warp::template PerLane<MmaA> a[2];
                warp.each([&](int lane) {
                    XS_UNROLL
                    for (int step = 0; step < 2; ++step) {
                        XS_UNROLL
                        for (int i = 0; i < 4; ++i) {
                            const int row = first + lane / 4 + i % 2 * 8;
                            const float* from = grad_output + row * kTileStride +
                                                half_channel(step, lane, i / 2 * 2);
                            const bool there = row < layer.outputs;
                            a[step][lane].pair[i] =
                                half_pair_open(there ? from[0] : 0.0f, there ? from[1] : 0.0f);
                        }
                    }
                });
                for (int n = job / tiles * kTogether;
                     n < job / tiles * kTogether + kTogether && n * 8 < layer.inputs; ++n) {
                    typename Warp::template PerLane<MmaC> sum;
                    typename Warp::template PerLane<MmaB> b[2];
                    warp.each([&](int lane) {
                        const int channel = n * 8 + lane / 4;
                        const bool there = channel < layer.inputs;
                        XS_UNROLL
                        for (int i = 0; i < 4; ++i) {
                            sum[lane].value[i] = 0.0f;
                            const float* from = input + channel * kTileStride +
                                                half_channel(i / 2, lane, i % 2 * 2);
                            b[i / 2][lane].pair[i % 2] =
                                half_pair(there ? from[0] : 0.0f, there ? from[1] : 0.0f);
                        }
                    });
                    warp.product(a[0], b[0], sum);
                    warp.product(a[1], b[1], sum);
                    warp.each([&](int lane) {
                        XS_UNROLL
                        for (int i = 0; i < 4; ++i) {
                            const int row = first + mma_row(lane, i);
                            const int channel = n * 8 + mma_column(lane, i);
                            if (row < layer.outputs && channel < layer.inputs) {
                                sums.add(layer.weight + static_cast<int64_t>(row) * layer.inputs +
                                             channel,
                                         sum[lane].value[i]);
                            }
                        }
                    });
                }
            }
        });
        block.phase([&](int thread) { tile_bias_gradient(thread, layer, grad_output, sums); });
    }

  private:
    // finish(row, place, sum) for rows of a packed matrix times the tile's channels. A warp takes
    // 16 rows and half of the rays at a time.
    template <bool kOpen, class Block, class Finish>
    XS_HD void product(const Block& block, const Half* matrix, int rows, int channels,
                       const float* input, const Finish& finish) const {
        using Warp = typename Block::Warp;
        constexpr int kParts = 2, kColumns = kTileRays / 8 / kParts;
        const int steps = half_steps(channels);
        block.warps([&](const Warp& warp, int index) {
            for (int job = index; job < half_tiles(rows) * kParts; job += kBlockWarps) {
                warp.sync();  // lanes part where rows end
                const int tile = job / kParts, ray = job % kParts * kColumns * 8;
                typename Warp::template PerLane<MmaC> sum[kColumns];
                warp.each([&](int lane) {
                    XS_UNROLL
                    for (int n = 0; n < kColumns; ++n) {
                        sum[n][lane] = {};
                    }
                });
                for (int step = 0; step < steps; ++step) {
                    typename Warp::template PerLane<MmaA> a;
                    warp.each([&](int lane) {
                        const int64_t place = (int64_t{tile} * steps + step) * kWarpLanes + lane;
                        const HalfEight eight = load_eight(matrix + place * 8);
                        XS_UNROLL
                        for (int i = 0; i < 4; ++i) {
                            a[lane].pair[i] = eight.pair[i];
                        }
                    });
                    XS_UNROLL
                    for (int n = 0; n < kColumns; ++n) {
                        typename Warp::template PerLane<MmaB> b;
                        warp.each([&](int lane) {
                            float x[4];
                            XS_UNROLL
                            for (int j = 0; j < 4; ++j) {
                                const int channel = half_channel(step, lane, j);
                                x[j] = channel < channels
                                           ? input[channel * kTileStride + ray + n * 8 + lane / 4]
                                           : 0.0f;
                            }
                            b[lane].pair[0] =
                                kOpen ? half_pair_open(x[0], x[1]) : half_pair(x[0], x[1]);
                            b[lane].pair[1] =
                                kOpen ? half_pair_open(x[2], x[3]) : half_pair(x[2], x[3]);
                        });
                        warp.product(a, b, sum[n]);
                    }
                }
                warp.each([&](int lane) {
                    XS_UNROLL
                    for (int n = 0; n < kColumns; ++n) {
                        XS_UNROLL
                        for (int i = 0; i < 4; ++i) {
                            const int row = tile * 16 + mma_row(lane, i);
                            if (row < rows) {
                                finish(row, row * kTileStride + ray + n * 8 + mma_column(lane, i),
                                       sum[n][lane].value[i]);
                            }
                        }
                    }
                });
            }
        });
    }
};

}  // namespace xs
