// shade_film for a block of threads: the device kernels, also run on the host by tests.
#pragma once

#include "shade/film.h"
#include "shade/products.h"
#include "sine.h"

namespace xs {

struct ShadeFilmLayers {
    TileLayer feature1, feature2, mapping1, mapping2, direction1, direction2, colour;
};

XS_HD inline ShadeFilmLayers shade_film_layers(int32_t width, int32_t hidden) {
    ShadeFilmLayers l{};
    l.feature1 = tile_layer(0, 0, hidden, width);
    l.feature2 = tile_layer(1, l.feature1.end(), hidden, hidden);
    l.mapping1 = tile_layer(2, l.feature2.end(), hidden, hidden);
    l.mapping2 = tile_layer(3, l.mapping1.end(), 4 * hidden, hidden);
    l.direction1 = tile_layer(4, l.mapping2.end(), hidden, 3, true);
    l.direction2 = tile_layer(5, l.direction1.end(), hidden, hidden);
    l.colour = tile_layer(6, l.direction2.end(), 3, hidden, true);
    return l;
}

XS_HD inline ShadeFilmLayers shade_film_layers(const ShadeArgs& a) {
    return shade_film_layers(a.width, a.hidden);
}

// Floats of memory a block needs; at the published sizes two blocks fit onto a processor. Gradients
// of weights would not fit into shared memory beside the activations: they are added up in a part
// of block_sums, which the second-level cache holds.
inline int64_t shade_film_block_memory(const ShadeArgs& a) {
    return tile_memory(a.width + 11 * a.hidden + 3 + 3, 0);
}

// The rows of `light` for one channel of feature layer `index`.
struct FilmLight {
    float frequency, phase;
};

XS_HD inline FilmLight film_light(const ShadeArgs& a, int index, int channel) {
    const float* row = a.light + static_cast<int64_t>(index) * a.hidden + channel;
    return {row[0], row[2 * a.hidden]};
}

// Gradient of feature layer `index`: `grad` of the sine becomes that of `u`, before frequency and
// phase, whose own gradients are summed over the tile.
template <class Block>
XS_HD inline void film_feature_backward(const Block& block, const ShadeArgs& a, int index,
                                        const float* u, float* grad) {
    tile_each(block, a.hidden, [&](int place, int channel, int) {
        const FilmLight light = film_light(a, index, channel);
        grad[place] *= fast_cosine(light.frequency * u[place] + light.phase);
    });
    block.phase([&](int thread) {
        for (int channel = thread; channel < a.hidden; channel += kBlockThreads) {
            float frequency = 0.0f, phase = 0.0f;
            const float factor = film_light(a, index, channel).frequency;
            for (int ray = 0; ray < kTileRays; ++ray) {
                const int place = channel * kTileStride + ray;
                frequency += grad[place] * u[place];
                phase += grad[place];
                grad[place] *= factor;
            }
            float* to = a.grad_light + static_cast<int64_t>(index) * a.hidden + channel;
            a.device.sums.add(to, frequency);
            a.device.sums.add(to + 2 * a.hidden, phase);
        }
    });
}

// Gradient of a direction layer: `grad` of the sine becomes that of `u`; frequency and phase
// become the gradients of the mapping's outputs.
template <class Block>
XS_HD inline void film_direction_backward(const Block& block, int hidden, const float* u,
                                          float* frequency, float* phase, float* grad) {
    tile_each(block, hidden, [&](int place, int, int) {
        const float f = frequency[place];
        const float angle = grad[place] * fast_cosine(f * u[place] + phase[place]);
        grad[place] = angle * f;
        frequency[place] = 15.0f * angle * u[place];
        phase[place] = angle;
    });
}

template <bool kGradient, class Block, class Io, class Products>
XS_HD inline void shade_film_block(const Block& block, const ShadeArgs& a, const Io& io,
                                   const Products& products) {
    const ShadeFilmLayers l = shade_film_layers(a);
    const int hidden = a.hidden;
    const int rows = hidden * kTileStride;
    float* features = block.memory;
    float* direction = features + a.width * kTileStride;
    float* raw = direction + 3 * kTileStride;
    float* u1 = raw + 3 * kTileStride;
    float* s1 = u1 + rows;
    float* u2 = s1 + rows;
    float* d = u2 + rows;
    float* mapping = d + rows;
    float* film = mapping + rows;  // frequencies of both direction layers, then phases of both
    float* y1 = film + 4 * rows;
    float* y2 = y1 + rows;
    float* extra = y2 + rows;
    // Activations that are not read for a while lend their memory: s1 and d are computed once more
    // on the way back.
    float* v1 = s1;
    float* v2 = d;
    float* grad_a = y2;
    float* grad_b = y1;
    float* own = a.device.block_sums == nullptr
                     ? nullptr
                     : a.device.block_sums + block.index * l.colour.end();
    const TileSums sums{own, a.grad_weights, a.device.sums, true};
    if (own != nullptr) {
        tile_clear(block, own, l.colour.end());
    }
    const auto exposure_row = [&](int64_t ray) -> int64_t {
        return a.exposure == nullptr || a.photo[ray] < 0
                   ? -1
                   : static_cast<int64_t>(a.photo[ray]) * 2 * hidden;
    };
    const auto sine1 = [&](int channel, float u) {
        const FilmLight light = film_light(a, 0, channel);
        return fast_sine(light.frequency * u + light.phase);
    };
    // The second layer's output with the photo's exposure; `row` is that of the ray.
    const auto exposed = [&](int channel, float u, int64_t row) {
        const FilmLight light = film_light(a, 1, channel);
        const float s2 = fast_sine(light.frequency * u + light.phase);
        return row < 0 ? s2
                       : expf(a.exposure[row + hidden + channel]) * s2 + a.exposure[row + channel];
    };
    for_each_tile(block, a.rays, [&](int64_t ray, int rays) XS_INLINE_LAMBDA {
        io.load(block, extra, ray, rays, features, direction);
        products.forward(block, l.feature1, features, [&](int channel, int place, float x) {
            u1[place] = x;
            s1[place] = sine1(channel, x);
        });
        const auto row_of = [&](int in_tile) -> int64_t {
            return in_tile < rays ? exposure_row(ray + in_tile) : -1;
        };
        products.forward(block, l.feature2, s1, [&](int channel, int place, float x) {
            u2[place] = x;
            d[place] = exposed(channel, x, row_of(place - channel * kTileStride));
        });
        products.forward(block, l.mapping1, d, [&](int, int place, float x) {
            mapping[place] = x > 0.0f ? x : kLeakySlope * x;
        });
        products.forward(block, l.mapping2, mapping, [&](int channel, int place, float x) {
            film[place] = channel < 2 * hidden ? 15.0f * x + 30.0f : x;
        });
        products.forward(block, l.direction1, direction, [&](int, int place, float x) {
            v1[place] = x;
            y1[place] = fast_sine(film[place] * x + film[2 * rows + place]);
        });
        products.forward(block, l.direction2, y1, [&](int, int place, float x) {
            v2[place] = x;
            y2[place] = fast_sine(film[rows + place] * x + film[3 * rows + place]);
        });
        products.forward(block, l.colour, y2, [&](int, int place, float x) { raw[place] = x; });
        tile_head<true, kGradient>(block, a, ray, rays, raw);
        if (!kGradient) {
            return;
        }
        const auto into = [](float* to) { return [to](int place, float g) { to[place] = g; }; };
        products.gradient(block, l.colour, raw, y2, sums);
        products.backward(block, l.colour, raw, hidden, into(grad_a));
        film_direction_backward(block, hidden, v2, film + rows, film + 3 * rows, grad_a);
        products.gradient(block, l.direction2, grad_a, y1, sums);
        products.backward(block, l.direction2, grad_a, hidden, into(grad_b));
        film_direction_backward(block, hidden, v1, film, film + 2 * rows, grad_b);
        products.gradient(block, l.direction1, grad_b, direction, sums);
        products.gradient(block, l.mapping2, film, mapping, sums);
        products.backward(block, l.mapping2, film, hidden, [&](int place, float g) {
            grad_a[place] = mapping[place] > 0.0f ? g : kLeakySlope * g;
        });
        tile_each(block, hidden, [&](int place, int channel, int in_tile) {
            d[place] = exposed(channel, u2[place], row_of(in_tile));
        });
        products.gradient(block, l.mapping1, grad_a, d, sums);
        products.backward(block, l.mapping1, grad_a, hidden, into(grad_b));
        tile_each(block, hidden, [&](int place, int channel, int in_tile) {
            const int64_t row = row_of(in_tile);
            if (row < 0) {
                return;
            }
            const FilmLight light = film_light(a, 1, channel);
            const float shift = grad_b[place];
            const float scaled = shift * expf(a.exposure[row + hidden + channel]);
            grad_b[place] = scaled;
            if (a.grad_exposure != nullptr) {
                const float s2 = fast_sine(light.frequency * u2[place] + light.phase);
                a.device.sums.add(a.grad_exposure + row + channel, shift);
                a.device.sums.add(a.grad_exposure + row + hidden + channel, scaled * s2);
            }
        });
        film_feature_backward(block, a, 1, u2, grad_b);
        tile_each(block, hidden,
                  [&](int place, int channel, int) { s1[place] = sine1(channel, u1[place]); });
        products.gradient(block, l.feature2, grad_b, s1, sums);
        products.backward(block, l.feature2, grad_b, hidden, into(grad_a));
        film_feature_backward(block, a, 0, u1, grad_a);
        products.gradient(block, l.feature1, grad_a, features, sums);
        products.backward(block, l.feature1, grad_a, a.width, into(features));
        io.store(block, extra, ray, rays, features);
    });
    if (own != nullptr) {
        tile_flush(block, sums, l.colour.end());
    }
}

template <bool kGradient>
struct ShadeFilmKernel {
    ShadeArgs a;

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        shade_film_block<kGradient>(block, a, TensorIo{a}, FloatProducts{a.weights});
    }
};

// The kernel for all rays, and the bytes of scratch memory that it wants.
template <bool kGradient, class Launcher>
void shade_film_pass(const Launcher& launcher, const ShadeArgs& args) {
    const ShadeArgs a = args;
    launcher.blocks("shade_film", shade_tiles(a), shade_film_block_memory(a), a.scratch,
                    ShadeFilmKernel<kGradient>{a});
}

template <bool kGradient, class Launcher>
int64_t shade_film_pass_scratch(const Launcher& launcher, const ShadeArgs& a) {
    return launcher.block_scratch("shade_film", shade_tiles(a), shade_film_block_memory(a));
}

}  // namespace xs
