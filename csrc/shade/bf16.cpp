// The shaders' forward pass with products of bfloat16 pairs (AVX-512 only).
#include "shade/bf16.h"

#include <cmath>
#include <vector>

#include "shade/head.h"
#include "shade/matmul.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int kHidden = kBf16Hidden;
constexpr int kVectors = kHidden / kLanes;
constexpr int kSecond = kHidden + kMaxHarmonics;  // inputs of shade_relu's second layer
// Rays of the largest register tile; the others divide it. Chunks are computed in whole tiles.
constexpr int kRows = 6;
constexpr int kRowsAll = (kShadeRays + kRows - 1) / kRows * kRows;

uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return static_cast<uint16_t>(bits >> 16 | 0x40);  // NaN stays
    }
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Weights [outputs, stride] to pairs of inputs, [inputs / 2, outputs, 2].
void pack_pairs(const float* weights, int64_t stride, int inputs, int outputs, uint16_t* pairs) {
    for (int k = 0; k < inputs; ++k) {
        for (int row = 0; row < outputs; ++row) {
            pairs[(k / 2 * outputs + row) * 2 + k % 2] = to_bf16(weights[row * stride + k]);
        }
    }
}

// Sixteen floats after each other to sixteen bfloat16.
inline void store_bf16(uint16_t* to, V x) {
    const __m256bh half = _mm512_cvtneps_pbh((__m512)x);
    memcpy(to, &half, sizeof half);
}

inline __m512bh load_pairs(const uint16_t* from) {
    return (__m512bh)_mm512_loadu_si512(from);
}

// sum[i][j] += A(i, :) * B(:, j) over `pairs` pairs of inputs; A's rows are `stride` numbers apart.
template <int kR, int kN>
inline void add_products(const uint16_t* a, int stride, const uint16_t* const (&b)[kN], int pairs,
                         V (&sum)[kR][kN * kVectors]) {
    for (int k = 0; k < pairs; ++k) {
        __m512bh factor[kR];
#pragma GCC unroll 8
        for (int i = 0; i < kR; ++i) {
            int32_t pair;
            memcpy(&pair, a + i * stride + 2 * k, 4);
            factor[i] = (__m512bh)_mm512_set1_epi32(pair);
        }
#pragma GCC unroll 16
        for (int j = 0; j < kN * kVectors; ++j) {
            const __m512bh line =
                load_pairs(b[j / kVectors] + (k * kHidden + j % kVectors * kLanes) * 2);
#pragma GCC unroll 8
            for (int i = 0; i < kR; ++i) {
                sum[i][j] = (V)_mm512_dpbf16_ps((__m512)sum[i][j], factor[i], line);
            }
        }
    }
}

template <int kR, int kN>
inline void start(const float* const (&bias)[kN], V (&sum)[kR][kN * kVectors]) {
#pragma GCC unroll 8
    for (int i = 0; i < kR; ++i) {
#pragma GCC unroll 16
        for (int j = 0; j < kN * kVectors; ++j) {
            sum[i][j] = load(bias[j / kVectors] + j % kVectors * kLanes);
        }
    }
}

// One layer of 64 outputs for `rows` rays (a multiple of kRows), through `finish`, to bfloat16.
template <class Finish>
inline void layer(const ShadeBf16Net& net, int index, const uint16_t* a, int stride, int inputs,
                  int rows, uint16_t* out, int out_stride, const Finish& finish_value) {
    const float* const bias[1] = {net.bias[index]};
    const uint16_t* const b[1] = {net.weights[index]};
    for (int r = 0; r < rows; r += kRows) {
        V sum[kRows][kVectors];
        start<kRows, 1>(bias, sum);
        add_products<kRows, 1>(a + r * stride, stride, b, inputs / 2, sum);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) {
                store_bf16(out + (r + i) * out_stride + j * kLanes, finish_value(sum[i][j]));
            }
        }
    }
}

inline V leaky(V x) {
    return (V)_mm512_mask_max_ps((__m512)x, kAllLanes, (__m512)x, (__m512)(kLeakySlope * x));
}

struct Scratch {
    HeadScratch* head;
    uint16_t* features;  // [rays, width]
    uint16_t* first;     // [rays, 80]
    uint16_t* second;    // [rays, 64]
    float* last;         // [rays, 64]
};

Scratch lay_out(int width, float* scratch) {
    Scratch s{};
    s.head = reinterpret_cast<HeadScratch*>(scratch);
    float* next = scratch + sizeof(HeadScratch) / sizeof(float);
    const auto take = [&](int channels) {
        float* taken = next;
        next += kRowsAll * channels + kShadeGap;
        return taken;
    };
    s.features = reinterpret_cast<uint16_t*>(take(width / 2));
    s.first = reinterpret_cast<uint16_t*>(take(kSecond / 2));
    s.second = reinterpret_cast<uint16_t*>(take(kHidden / 2));
    s.last = take(kHidden);
    return s;
}

// The chunk's features as bfloat16, zeros behind up to whole tiles; returns the rays computed.
int round_features(const ShadeChunk& chunk, int width, uint16_t* to) {
    const int rows = (chunk.rays + kRows - 1) / kRows * kRows;
    for (int i = 0; i < chunk.rays * width; i += kLanes) {
        store_bf16(to + i, load(chunk.features + i));
    }
    memset(to + chunk.rays * width, 0, sizeof(uint16_t) * (rows - chunk.rays) * width);
    return rows;
}

}  // namespace

int64_t shade_bf16_scratch_size(int32_t width) {
    return static_cast<int64_t>(sizeof(HeadScratch) / sizeof(float)) + 4 * kShadeGap +
           kRowsAll * (width / 2 + kSecond / 2 + kHidden / 2 + kHidden);
}

ShadeBf16Net shade_relu_bf16_pack(const ShadeReluNet& net, ShadeBuffer& buffer) {
    ShadeBf16Net packed{};
    packed.width = net.width;
    packed.sh_degree = net.sh_degree;
    auto* pairs = reinterpret_cast<uint16_t*>(buffer.get(kHidden * (net.width + kSecond) / 2));
    pack_pairs(net.packed + net.w1(), net.padded(), net.width, kHidden, pairs);
    packed.weights[ShadeBf16Net::kFirst] = pairs;
    packed.bias[ShadeBf16Net::kFirst] = net.packed + net.b1();
    pairs += kHidden * net.width;
    pack_pairs(net.packed + net.w2(), net.second(), kSecond, kHidden, pairs);
    packed.weights[ShadeBf16Net::kSecond] = pairs;
    packed.bias[ShadeBf16Net::kSecond] = net.packed + net.b2();
    packed.colour_weights = net.packed + net.w3();
    packed.colour_bias = net.packed + net.b3();
    return packed;
}

ShadeBf16Net shade_film_bf16_pack(const ShadeFilmNet& net, const float* exposure,
                                  ShadeBuffer& buffer) {
    using N = ShadeBf16Net;
    using F = ShadeFilmNet;
    // The film's number of each layer here.
    constexpr int kFrom[N::kLayers] = {F::kFeature1, F::kFeature2,   F::kMapping1, F::kFrequency1,
                                       F::kPhase1,   F::kFrequency2, F::kPhase2,   F::kDirection2};
    N packed{};
    packed.width = net.width;
    float* next = buffer.get(kHidden * (net.width + (N::kLayers - 1) * kHidden) / 2 + 4 * kHidden);
    float* mapping_bias = next;
    float* direction = next + kHidden;
    next += 4 * kHidden;
    std::vector<float> exposed(kHidden * kHidden);
    for (int i = 0; i < N::kLayers; ++i) {
        const FilmLayer& layer = net.layers[kFrom[i]];
        const float* weights = net.packed + layer.weight;
        packed.bias[i] = net.packed + layer.bias;
        if (i == N::kMapping && exposure != nullptr) {
            // M1 (exp(log scale) s2 + shift) + c1, with the factor and the shift multiplied out.
            for (int row = 0; row < kHidden; ++row) {
                double bias = packed.bias[i][row];
                for (int k = 0; k < kHidden; ++k) {
                    const float weight = weights[row * layer.stride + k];
                    exposed[row * kHidden + k] = weight * std::exp(exposure[kHidden + k]);
                    bias += static_cast<double>(weight) * exposure[k];
                }
                mapping_bias[row] = static_cast<float>(bias);
            }
            weights = exposed.data();
            packed.bias[i] = mapping_bias;
        }
        auto* pairs = reinterpret_cast<uint16_t*>(next);
        pack_pairs(weights, layer.stride, layer.inputs, kHidden, pairs);
        packed.weights[i] = pairs;
        next += kHidden * layer.inputs / 2;
    }
    const FilmLayer& first = net.layers[F::kDirection1];
    for (int axis = 0; axis < 3; ++axis) {
        for (int row = 0; row < kHidden; ++row) {
            direction[axis * kHidden + row] = net.packed[first.weight + row * first.stride + axis];
        }
    }
    packed.direction_weights = direction;
    packed.direction_bias = net.packed + first.bias;
    packed.colour_weights = net.packed + net.layers[F::kColour].weight;
    packed.colour_bias = net.packed + net.layers[F::kColour].bias;
    return packed;
}

void shade_relu_bf16(const ShadeBf16Net& net, const ShadeChunk& chunk, float* scratch) {
    const Scratch s = lay_out(net.width, scratch);
    const int rows = round_features(chunk, net.width, s.features);
    for (int r = 0; r < chunk.rays; ++r) {
        alignas(64) float harmonics[kMaxHarmonics];
        const float* d = chunk.direction + 3 * r;
        spherical_harmonics<float>(d[0], d[1], d[2], net.sh_degree, harmonics);
        store_bf16(s.first + r * kSecond + kHidden, load(harmonics));
    }
    for (int r = chunk.rays; r < rows; ++r) {
        memset(s.first + r * kSecond + kHidden, 0, sizeof(uint16_t) * kMaxHarmonics);
    }
    layer(net, ShadeBf16Net::kFirst, s.features, net.width, net.width, rows, s.first, kSecond,
          relu);
    const float* const bias[1] = {net.bias[ShadeBf16Net::kSecond]};
    const uint16_t* const b[1] = {net.weights[ShadeBf16Net::kSecond]};
    for (int r = 0; r < rows; r += kRows) {
        V sum[kRows][kVectors];
        start<kRows, 1>(bias, sum);
        add_products<kRows, 1>(s.first + r * kSecond, kSecond, b, kSecond / 2, sum);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) {
                store(s.last + (r + i) * kHidden + j * kLanes, relu(sum[i][j]));
            }
        }
    }
    three_outputs(s.last, kHidden, chunk.rays, kHidden, net.colour_weights, net.colour_bias,
                  s.head->raw[0], kShadeLaneRays);
    head_forward<Head::affine>(chunk, *s.head);
}

void shade_film_bf16(const ShadeBf16Net& net, const ShadeChunk& chunk, float* scratch) {
    using N = ShadeBf16Net;
    const Scratch s = lay_out(net.width, scratch);
    const int rows = round_features(chunk, net.width, s.features);
    layer(net, N::kFirst, s.features, net.width, net.width, rows, s.first, kHidden,
          VectorMath::sine);
    layer(net, N::kSecond, s.first, kHidden, kHidden, rows, s.second, kHidden, VectorMath::sine);
    layer(net, N::kMapping, s.second, kHidden, kHidden, rows, s.first, kHidden, leaky);
    // First direction layer: its frequencies and phases are made and used in registers.
    constexpr int kThree = 3;
    const float* const bias1[2] = {net.bias[N::kFrequency1], net.bias[N::kPhase1]};
    const uint16_t* const b1[2] = {net.weights[N::kFrequency1], net.weights[N::kPhase1]};
    for (int r = 0; r < rows; r += kThree) {
        V sum[kThree][2 * kVectors];
        start<kThree, 2>(bias1, sum);
        add_products<kThree, 2>(s.first + r * kHidden, kHidden, b1, kHidden / 2, sum);
#pragma GCC unroll 4
        for (int i = 0; i < kThree; ++i) {
            const float* d = chunk.direction + 3 * (r + i < chunk.rays ? r + i : chunk.rays - 1);
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) {
                const float* w = net.direction_weights + j * kLanes;
                V u = load(net.direction_bias + j * kLanes);
                u = fma(splat(d[0]), load(w), u);
                u = fma(splat(d[1]), load(w + kHidden), u);
                u = fma(splat(d[2]), load(w + 2 * kHidden), u);
                store_bf16(s.second + (r + i) * kHidden + j * kLanes,
                           VectorMath::sine(fma(sum[i][j], u, sum[i][kVectors + j])));
            }
        }
    }
    constexpr int kTwo = 2;
    const float* const bias2[2] = {net.bias[N::kFrequency2], net.bias[N::kPhase2]};
    const uint16_t* const b2[2] = {net.weights[N::kFrequency2], net.weights[N::kPhase2]};
    const float* const bias3[1] = {net.bias[N::kDirection]};
    const uint16_t* const b3[1] = {net.weights[N::kDirection]};
    for (int r = 0; r < rows; r += kTwo) {
        V film[kTwo][2 * kVectors];
        V u[kTwo][kVectors];
        start<kTwo, 2>(bias2, film);
        start<kTwo, 1>(bias3, u);
        add_products<kTwo, 2>(s.first + r * kHidden, kHidden, b2, kHidden / 2, film);
        add_products<kTwo, 1>(s.second + r * kHidden, kHidden, b3, kHidden / 2, u);
#pragma GCC unroll 4
        for (int i = 0; i < kTwo; ++i) {
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) {
                store(s.last + (r + i) * kHidden + j * kLanes,
                      VectorMath::sine(fma(film[i][j], u[i][j], film[i][kVectors + j])));
            }
        }
    }
    three_outputs(s.last, kHidden, chunk.rays, kHidden, net.colour_weights, net.colour_bias,
                  s.head->raw[0], kShadeLaneRays);
    head_forward<Head::clipped>(chunk, *s.head);
}

}  // namespace XS_ISA
}  // namespace xs
