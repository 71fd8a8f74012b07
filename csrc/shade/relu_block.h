// shade_relu for a block of threads: the device kernels, also run on the host by tests.
#pragma once

#include "shade/products.h"
#include "shade/relu.h"

namespace xs {

struct ShadeReluLayers {
    TileLayer first, second, colour;
};

XS_HD inline ShadeReluLayers shade_relu_layers(int32_t width, int32_t hidden, int32_t sh_degree) {
    ShadeReluLayers l{};
    l.first = tile_layer(0, 0, hidden, width);
    l.second = tile_layer(1, l.first.end(), hidden, hidden + sh_degree * sh_degree);
    l.colour = tile_layer(2, l.second.end(), 3, hidden, true);
    return l;
}

XS_HD inline ShadeReluLayers shade_relu_layers(const ShadeArgs& a) {
    return shade_relu_layers(a.width, a.hidden, a.sh_degree);
}

// Floats of memory a block needs.
inline int64_t shade_relu_block_memory(const ShadeArgs& a, bool gradient) {
    return tile_memory(a.width + 2 * a.hidden + kMaxHarmonics + 3 + 3,
                       gradient ? shade_relu_layers(a).colour.end() : 0);
}

template <bool kGradient, class Block, class Io, class Products>
XS_HD inline void shade_relu_block(const Block& block, const ShadeArgs& a, const Io& io,
                                   const Products& products) {
    const ShadeReluLayers l = shade_relu_layers(a);
    const int hidden = a.hidden;
    float* features = block.memory;
    float* second = features + a.width * kTileStride;  // activations, then harmonics
    float* third = second + (hidden + kMaxHarmonics) * kTileStride;
    float* raw = third + hidden * kTileStride;
    float* direction = raw + 3 * kTileStride;
    float* next = direction + 3 * kTileStride;
    const TileSums sums{kGradient ? next : nullptr, a.grad_weights, a.device.sums, false};
    float* extra = kGradient ? next + l.colour.end() : next;
    if (kGradient) {
        tile_clear(block, sums.own, l.colour.end());
    }
    for_each_tile(block, a.rays, [&](int64_t ray, int rays) XS_INLINE_LAMBDA {
        io.load(block, extra, ray, rays, features, direction);
        block.phase([&](int thread) {
            if (thread >= kTileRays) {
                return;
            }
            float harmonics[kMaxHarmonics] = {};
            if (thread < rays) {
                const float* d = direction + thread;
                spherical_harmonics<float>(d[0], d[kTileStride], d[2 * kTileStride], a.sh_degree,
                                           harmonics);
            }
            for (int i = 0; i < kMaxHarmonics; ++i) {
                second[(hidden + i) * kTileStride + thread] = harmonics[i];
            }
        });
        products.forward(block, l.first, features, [&](int, int place, float x) {
            second[place] = x > 0.0f || x != x ? x : 0.0f;
        });
        products.forward(block, l.second, second, [&](int, int place, float x) {
            third[place] = x > 0.0f || x != x ? x : 0.0f;
        });
        products.forward(block, l.colour, third, [&](int, int place, float x) { raw[place] = x; });
        tile_head<false, kGradient>(block, a, ray, rays, raw);
        if (!kGradient) {
            return;
        }
        // Gradients take the place of the activations that they no longer need.
        products.gradient(block, l.colour, raw, third, sums);
        products.backward(block, l.colour, raw, hidden, [&](int place, float g) {
            third[place] = third[place] > 0.0f ? g : 0.0f;
        });
        products.gradient(block, l.second, third, second, sums);
        products.backward(block, l.second, third, hidden, [&](int place, float g) {
            second[place] = second[place] > 0.0f ? g : 0.0f;
        });
        products.gradient(block, l.first, second, features, sums);
        products.backward(block, l.first, second, a.width,
                          [&](int place, float g) { features[place] = g; });
        io.store(block, extra, ray, rays, features);
    });
    if (kGradient) {
        tile_flush(block, sums, l.colour.end());
    }
}

template <bool kGradient>
struct ShadeReluKernel {
    ShadeArgs a;
    static constexpr int kResident = kGradient ? 2 : 4;

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        shade_relu_block<kGradient>(block, a, TensorIo{a}, FloatProducts{a.weights});
    }
};

// The kernel for all rays, and the bytes of scratch memory that it wants.
template <bool kGradient, class Launcher>
void shade_relu_pass(const Launcher& launcher, const ShadeArgs& args) {
    const ShadeArgs a = args;
    launcher.blocks("shade_relu", shade_tiles(a), shade_relu_block_memory(a, kGradient), a.scratch,
                    ShadeReluKernel<kGradient>{a});
}

template <bool kGradient, class Launcher>
int64_t shade_relu_pass_scratch(const Launcher& launcher, const ShadeArgs& a) {
    return launcher.block_scratch("shade_relu", shade_tiles(a),
                                  shade_relu_block_memory(a, kGradient));
}

}  // namespace xs
