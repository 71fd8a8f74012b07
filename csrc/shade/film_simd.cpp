// shade_film's chunk of rays, compiled once for each instruction set.
#include "shade/film.h"
#include "shade/head.h"
#include "shade/matmul.h"

namespace xs {
namespace XS_ISA {

namespace {

// Activations of a chunk, [rays, hidden] unless said otherwise. Each sine has its cosine, which is
// what the backward pass multiplies with.
struct Scratch {
    HeadScratch* head;
    float* features;       // [rays, width to 16]; used when rows need padding
    float* grad_features;  // the same
    float* direction;      // [rays, 16]: x, y, z, 1 and zeros
    float *s1, *c1, *s2, *c2;
    float* d;
    float* mapping;
    float* film[4];  // frequencies of both direction layers, phases of both; later gradients
    float *u1, *u2;  // direction layers before FiLM
    float *y1, *k1, *y2, *k2;
    float* grad_a;
    float* grad_b;
};

Scratch lay_out(const ShadeFilmNet& net, float* scratch) {
    Scratch s{};
    s.head = reinterpret_cast<HeadScratch*>(scratch);
    float* next = scratch + sizeof(HeadScratch) / sizeof(float);
    const auto take = [&](int channels) {
        float* taken = next;
        next += kShadeRays * channels + kShadeGap;
        return taken;
    };
    const int hidden = net.hidden;
    s.features = take(padded_to_16(net.width));
    s.grad_features = take(padded_to_16(net.width));
    s.direction = take(16);
    float** const parts[] = {&s.s1, &s.c1, &s.s2, &s.c2, &s.d,  &s.mapping, &s.u1,
                             &s.u2, &s.y1, &s.k1, &s.y2, &s.k2, &s.grad_a,  &s.grad_b};
    for (float** part : parts) {
        *part = take(hidden);
    }
    for (float*& part : s.film) {
        part = take(hidden);
    }
    return s;
}

// output = W input + bias for all rays, by the transposed weights. Long rows are summed in blocks
// whose weights stay in the first-level cache.
template <Finish kFinish = Finish::plain>
void linear(const ShadeFilmNet& net, int index, const float* input, int input_stride, float* output,
            int rays) {
    constexpr int kBlock = 64;
    const FilmLayer& layer = net.layers[index];
    const int outputs = layer.outputs;
    const float* weights = net.packed + layer.transposed;
    const bool blocked = kFinish == Finish::plain && layer.inputs > kBlock;
    product<false, Start::bias, kFinish>({input, input_stride, weights, outputs, output, outputs,
                                          rays, outputs, blocked ? kBlock : layer.inputs,
                                          net.packed + layer.bias, nullptr, 0});
    for (int k = kBlock; blocked && k < layer.inputs; k += kBlock) {
        const int inputs = layer.inputs - k < kBlock ? layer.inputs - k : kBlock;
        product<false, Start::add>({input + k, input_stride, weights + k * outputs, outputs, output,
                                    outputs, rays, outputs, inputs, nullptr, nullptr, 0});
    }
}

// Gradients of a linear layer's weights and bias, added to `gradient`.
void linear_weights(const ShadeFilmNet& net, int index, const float* grad_output,
                    const float* input, int input_stride, int rays, float* gradient) {
    const FilmLayer& layer = net.layers[index];
    product<true, Start::add>({grad_output, layer.outputs, input, input_stride,
                               gradient + layer.weight, layer.stride, layer.outputs, layer.stride,
                               rays, nullptr, nullptr, 0});
    add_column_sums(grad_output, layer.outputs, rays, layer.outputs, gradient + layer.bias);
}

// Gradient of a linear layer's input, written or added.
template <Start kStart = Start::zero>
void linear_input(const ShadeFilmNet& net, int index, const float* grad_output, float* grad_input,
                  int rays) {
    const FilmLayer& layer = net.layers[index];
    product<false, kStart>({grad_output, layer.outputs, net.packed + layer.weight, layer.stride,
                            grad_input, layer.stride, rays, layer.stride, layer.outputs, nullptr,
                            nullptr, 0});
}

// x becomes sin(x); cosine gets cos(x) where a gradient will be wanted.
template <bool kCosine>
void wave(float* x, float* cosine, int count) {
    for (int i = 0; i < count; i += kLanes) {
        V s, c;
        VectorMath::sincos(load(x + i), s, c);
        store(x + i, s);
        if constexpr (kCosine) {
            store(cosine + i, c);
        }
    }
}

// y = sin(frequency u + phase) with its cosine.
template <bool kCosine>
void film_wave(const float* u, const float* frequency, const float* phase, int count, float* y,
               float* cosine) {
    for (int i = 0; i < count; i += kLanes) {
        V s, c;
        VectorMath::sincos(fma(load(frequency + i), load(u + i), load(phase + i)), s, c);
        store(y + i, s);
        if constexpr (kCosine) {
            store(cosine + i, c);
        }
    }
}

// The gradient of film_wave: `grad` of y becomes that of u, and frequency and phase become theirs.
void film_wave_backward(float* grad, const float* u, const float* cosine, int count,
                        float* frequency, float* phase) {
    for (int i = 0; i < count; i += kLanes) {
        const V angle = load(grad + i) * load(cosine + i);
        store(grad + i, angle * load(frequency + i));
        store(frequency + i, angle * load(u + i));
        store(phase + i, angle);
    }
}

void multiply(float* x, const float* factor, int count) {
    for (int i = 0; i < count; i += kLanes) {
        store(x + i, load(x + i) * load(factor + i));
    }
}

const float* exposure_row(const ShadeChunk& chunk, int ray, int hidden) {
    return chunk.exposure == nullptr || chunk.photo[ray] < 0
               ? nullptr
               : chunk.exposure + static_cast<int64_t>(chunk.photo[ray]) * 2 * hidden;
}

// d = exp(log scale) s2 + shift.
void expose(const ShadeChunk& chunk, const float* s2, int hidden, float* d) {
    for (int r = 0; r < chunk.rays; ++r) {
        const float* row = exposure_row(chunk, r, hidden);
        for (int i = 0; i < hidden; i += kLanes) {
            V value = load(s2 + r * hidden + i);
            if (row != nullptr) {
                value = fma(VectorMath::exp(load(row + hidden + i)), value, load(row + i));
            }
            store(d + r * hidden + i, value);
        }
    }
}

// `grad` of d becomes that of s2; the photo's row gets its share.
void expose_backward(const ShadeChunk& chunk, const float* s2, int hidden, float* grad) {
    for (int r = 0; r < chunk.rays; ++r) {
        const float* row = exposure_row(chunk, r, hidden);
        if (row == nullptr) {
            continue;
        }
        float* sums = chunk.slot == nullptr
                          ? nullptr
                          : chunk.grad_exposure + static_cast<int64_t>(chunk.slot[r]) * 2 * hidden;
        for (int i = 0; i < hidden; i += kLanes) {
            const V shift = load(grad + r * hidden + i);
            const V scaled = shift * VectorMath::exp(load(row + hidden + i));
            store(grad + r * hidden + i, scaled);
            if (sums != nullptr) {
                store(sums + i, load(sums + i) + shift);
                store(sums + hidden + i,
                      fma(scaled, load(s2 + r * hidden + i), load(sums + hidden + i)));
            }
        }
    }
}

template <bool kCosine>
void forward(const ShadeFilmNet& net, const ShadeChunk& chunk, const Scratch& s) {
    const int n = chunk.rays;
    const int hidden = net.hidden;
    linear(net, ShadeFilmNet::kFeature1, chunk.features, net.width, s.s1, n);
    wave<kCosine>(s.s1, s.c1, n * hidden);
    linear(net, ShadeFilmNet::kFeature2, s.s1, hidden, s.s2, n);
    wave<kCosine>(s.s2, s.c2, n * hidden);
    expose(chunk, s.s2, hidden, s.d);
    linear<Finish::leaky>(net, ShadeFilmNet::kMapping1, s.d, hidden, s.mapping, n);
    for (int part = 0; part < 4; ++part) {
        linear(net, ShadeFilmNet::kFrequency1 + part, s.mapping, hidden, s.film[part], n);
    }
    linear(net, ShadeFilmNet::kDirection1, chunk.direction, 3, s.u1, n);
    film_wave<kCosine>(s.u1, s.film[0], s.film[2], n * hidden, s.y1, s.k1);
    linear(net, ShadeFilmNet::kDirection2, s.y1, hidden, s.u2, n);
    film_wave<kCosine>(s.u2, s.film[1], s.film[3], n * hidden, s.y2, s.k2);
    const FilmLayer& colour = net.layers[ShadeFilmNet::kColour];
    three_outputs(s.y2, hidden, n, hidden, net.packed + colour.weight, net.packed + colour.bias,
                  s.head->raw[0], kShadeLaneRays);
    head_forward<Head::clipped>(chunk, *s.head);
}

}  // namespace

void shade_film_chunk_forward(const ShadeFilmNet& net, const ShadeChunk& chunk, float* scratch) {
    forward<false>(net, chunk, lay_out(net, scratch));
}

void shade_film_chunk_gradient(const ShadeFilmNet& net, const ShadeChunk& chunk, float* scratch,
                               float* gradient) {
    const Scratch s = lay_out(net, scratch);
    const int n = chunk.rays;
    const int hidden = net.hidden;
    const int width = net.width;
    const int padded = padded_to_16(width);
    forward<true>(net, chunk, s);
    head_backward<Head::clipped>(chunk, *s.head);

    // Colour: three outputs, so its products have their own shapes.
    const FilmLayer& colour = net.layers[ShadeFilmNet::kColour];
    const float* grad_raw = s.head->grad_raw[0];
    product<true, Start::add>({grad_raw, 4, s.y2, hidden, gradient + colour.weight, hidden, 3,
                               hidden, n, nullptr, nullptr, 0});
    for (int r = 0; r < n; ++r) {
        for (int c = 0; c < 3; ++c) {
            gradient[colour.bias + c] += grad_raw[4 * r + c];
        }
    }
    product<false, Start::zero>({grad_raw, 4, net.packed + colour.weight, hidden, s.grad_a, hidden,
                                 n, hidden, 3, nullptr, nullptr, 0});

    // Direction layers; their FiLM rows turn into gradients.
    film_wave_backward(s.grad_a, s.u2, s.k2, n * hidden, s.film[1], s.film[3]);
    linear_weights(net, ShadeFilmNet::kDirection2, s.grad_a, s.y1, hidden, n, gradient);
    linear_input(net, ShadeFilmNet::kDirection2, s.grad_a, s.grad_b, n);
    film_wave_backward(s.grad_b, s.u1, s.k1, n * hidden, s.film[0], s.film[2]);
    for (int r = 0; r < n; ++r) {
        float* row = s.direction + r * 16;
        __builtin_memset(row, 0, 16 * sizeof(float));
        __builtin_memcpy(row, chunk.direction + 3 * r, 3 * sizeof(float));
    }
    linear_weights(net, ShadeFilmNet::kDirection1, s.grad_b, s.direction, 16, n, gradient);

    // Mapping network.
    linear_input(net, ShadeFilmNet::kFrequency1, s.film[0], s.grad_a, n);
    for (int part = 0; part < 4; ++part) {
        const int layer = ShadeFilmNet::kFrequency1 + part;
        linear_weights(net, layer, s.film[part], s.mapping, hidden, n, gradient);
        if (part > 0) {
            linear_input<Start::add>(net, layer, s.film[part], s.grad_a, n);
        }
    }
    for (int i = 0; i < n * hidden; i += kLanes) {
        const V grad = load(s.grad_a + i);
        store(s.grad_a + i, load(s.mapping + i) > 0.0f ? grad : kLeakySlope * grad);
    }
    linear_weights(net, ShadeFilmNet::kMapping1, s.grad_a, s.d, hidden, n, gradient);
    linear_input(net, ShadeFilmNet::kMapping1, s.grad_a, s.grad_b, n);

    // Feature layers.
    expose_backward(chunk, s.s2, hidden, s.grad_b);
    multiply(s.grad_b, s.c2, n * hidden);
    linear_weights(net, ShadeFilmNet::kFeature2, s.grad_b, s.s1, hidden, n, gradient);
    linear_input(net, ShadeFilmNet::kFeature2, s.grad_b, s.grad_a, n);
    multiply(s.grad_a, s.c1, n * hidden);
    const float* features = chunk.features;
    float* grad_features = chunk.grad_features;
    if (padded != width) {
        pad_rows(chunk.features, width, s.features, padded, n);
        features = s.features;
        grad_features = s.grad_features;
    }
    linear_weights(net, ShadeFilmNet::kFeature1, s.grad_a, features, padded, n, gradient);
    linear_input(net, ShadeFilmNet::kFeature1, s.grad_a, grad_features, n);
    if (padded != width) {
        unpad_rows(grad_features, padded, chunk.grad_features, width, n);
    }
}

}  // namespace XS_ISA
}  // namespace xs
