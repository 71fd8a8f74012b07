// Small matrix products in registers, for one chunk of rays whose operands lie in cache.
//
// All activations are ray-major, [rays, channels], and vectors run along channels. Then the three
// products of a layer are one kernel: forward (input x transposed weights), gradient of the input
// (output gradient x weights) and gradient of the weights (output gradient, read transposed, x
// input); nothing is ever transposed in memory and a ray never meets another ray's numbers, except
// in the sums of the weights' gradient.
#pragma once

#include "shade/vector.h"

namespace xs {
namespace XS_ISA {

enum class Start { zero, bias, add };              // what a sum begins with; add: what C holds
enum class Finish { plain, relu, leaky, masked };  // masked: zero where `mask` is not positive

// C[m, n] = finish(start + sum over k of A(m, k) * B[k, n]); n counts floats, a multiple of kLanes.
struct Product {
    const float* a;
    int64_t a_stride;  // A(m, k) is a[m * a_stride + k], or a[k * a_stride + m] when transposed
    const float* b;    // [k, n]
    int64_t b_stride;
    float* c;  // [m, n]
    int64_t c_stride;
    int m, n, k;
    const float* bias;  // [n], for Start::bias
    const float* mask;  // [m, n] with mask_stride, for Finish::masked
    int64_t mask_stride;
};

// Accumulators that fit the register file beside one row of B and one broadcast.
#if defined(__AVX512F__)
constexpr int kTileVectors = 4;
#else
constexpr int kTileVectors = 2;
#endif
constexpr int kTileRows = 6;

template <int kRows, int kVectors, bool kTransposed, Start kStart, Finish kFinish>
static inline void product_tile(const Product& p, int row, int column) {
    V sum[kRows][kVectors];
    float* c = p.c + row * p.c_stride + column;
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) {
            if constexpr (kStart == Start::zero) {
                sum[i][j] = V{};
            } else if constexpr (kStart == Start::bias) {
                sum[i][j] = load(p.bias + column + j * kLanes);
            } else {
                sum[i][j] = load(c + i * p.c_stride + j * kLanes);
            }
        }
    }
    const int64_t a_stride = p.a_stride;
    const int64_t b_stride = p.b_stride;
    const float* a = p.a + (kTransposed ? row : row * a_stride);
    const float* b = p.b + column;
    for (int k = 0; k < p.k; ++k) {
        V line[kVectors];
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) {
            line[j] = load(b + j * kLanes);
        }
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
            const V factor = splat(kTransposed ? a[i] : a[i * a_stride]);
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) {
                sum[i][j] = fma(factor, line[j], sum[i][j]);
            }
        }
        a += kTransposed ? a_stride : 1;
        b += b_stride;
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < kVectors; ++j) {
            V value = sum[i][j];
            if constexpr (kFinish == Finish::relu) {
                value = relu(value);
            } else if constexpr (kFinish == Finish::leaky) {
                value = value < 0.0f ? kLeakySlope * value : value;
            } else if constexpr (kFinish == Finish::masked) {
                const V mask = load(p.mask + (row + i) * p.mask_stride + column + j * kLanes);
                value = mask > 0.0f ? value : V{};
            }
            store(c + i * p.c_stride + j * kLanes, value);
        }
    }
}

template <int kVectors, bool kTransposed, Start kStart, Finish kFinish>
static void product_columns(const Product& p, int column) {
    int row = 0;
    for (; row + kTileRows <= p.m; row += kTileRows) {
        product_tile<kTileRows, kVectors, kTransposed, kStart, kFinish>(p, row, column);
    }
    if (p.m - row >= 4) {
        product_tile<4, kVectors, kTransposed, kStart, kFinish>(p, row, column);
        row += 4;
    }
    if (p.m - row >= 2) {
        product_tile<2, kVectors, kTransposed, kStart, kFinish>(p, row, column);
        row += 2;
    }
    if (p.m - row >= 1) {
        product_tile<1, kVectors, kTransposed, kStart, kFinish>(p, row, column);
    }
}

// Columns outside, rows inside: the panel of B stays in the first-level cache, A streams past.
template <bool kTransposed, Start kStart, Finish kFinish = Finish::plain>
static void product(const Product& p) {
    int vectors = p.n / kLanes;
    int column = 0;
    while (vectors > 0) {
        // Even shares: five vectors are three and two, not four and a thin one.
        const int tiles = (vectors + kTileVectors - 1) / kTileVectors;
        const int width = (vectors + tiles - 1) / tiles;
        if (width == 1) {
            product_columns<1, kTransposed, kStart, kFinish>(p, column);
        } else if (width == 2) {
            product_columns<2, kTransposed, kStart, kFinish>(p, column);
        } else if constexpr (kTileVectors > 2) {
            if (width == 3) {
                product_columns<3, kTransposed, kStart, kFinish>(p, column);
            } else {
                product_columns<4, kTransposed, kStart, kFinish>(p, column);
            }
        }
        vectors -= width;
        column += width * kLanes;
    }
}

// out[channel] += sum over rays of x[ray, channel]: the gradient of a bias.
static inline void add_column_sums(const float* x, int64_t stride, int rays, int channels,
                                   float* out) {
    for (int c = 0; c < channels; c += kLanes) {
        V sum = load(out + c);
        for (int r = 0; r < rays; ++r) {
            sum += load(x + r * stride + c);
        }
        store(out + c, sum);
    }
}

// Copies rows of `width` floats to rows of `padded` floats, zeros behind; and back.
static inline void pad_rows(const float* from, int width, float* to, int padded, int rows) {
    for (int r = 0; r < rows; ++r) {
        __builtin_memcpy(to + r * padded, from + r * width, width * sizeof(float));
        __builtin_memset(to + r * padded + width, 0, (padded - width) * sizeof(float));
    }
}

static inline void unpad_rows(const float* from, int padded, float* to, int width, int rows) {
    for (int r = 0; r < rows; ++r) {
        __builtin_memcpy(to + r * width, from + r * padded, width * sizeof(float));
    }
}

// Adds the lanes of v pairwise down to four.
typedef float V4 __attribute__((vector_size(16)));
static inline V4 fold_to_four(V v) {
#if defined(__AVX512F__)
    const __m256 half = _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xff, (__m512)v, 0),
                                      _mm512_maskz_extractf32x8_ps(0xff, (__m512)v, 1));
    return (V4)_mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
#elif defined(__AVX2__)
    return (V4)_mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
#else
    return v;
#endif
}

// Lane i of the result is the sum of the lanes of v[i].
static inline V4 sums_of_four(const V4* v) {
#if defined(__SSE2__)
    __m128 v0 = (__m128)v[0], v1 = (__m128)v[1], v2 = (__m128)v[2], v3 = (__m128)v[3];
    _MM_TRANSPOSE4_PS(v0, v1, v2, v3);
    return (V4)_mm_add_ps(_mm_add_ps(v0, v1), _mm_add_ps(v2, v3));
#else
    V4 sums;
    for (int i = 0; i < 4; ++i) {
        sums[i] = (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
    }
    return sums;
#endif
}

// The three outputs of the last layer as one array a channel: raw[c * raw_stride + ray]. Three
// columns would waste most of a tile, so these are dot products, four rays at a time. Rows up to
// the next multiple of four past `rays` must exist; their results mean nothing.
static inline void three_outputs(const float* x, int64_t stride, int rays, int channels,
                                 const float* weights, const float* bias, float* raw,
                                 int64_t raw_stride) {
    for (int r = 0; r < rays; r += 4) {
        V4 folded[3][4];
        for (int i = 0; i < 4; ++i) {
            V sum0{}, sum1{}, sum2{};
            const float* row = x + (r + i) * stride;
            for (int c = 0; c < channels; c += kLanes) {
                const V value = load(row + c);
                sum0 = fma(value, load(weights + c), sum0);
                sum1 = fma(value, load(weights + channels + c), sum1);
                sum2 = fma(value, load(weights + 2 * channels + c), sum2);
            }
            folded[0][i] = fold_to_four(sum0);
            folded[1][i] = fold_to_four(sum1);
            folded[2][i] = fold_to_four(sum2);
        }
        for (int c = 0; c < 3; ++c) {
            const V4 sums = sums_of_four(folded[c]) + bias[c];
            __builtin_memcpy(raw + c * raw_stride + r, &sums, sizeof(sums));
        }
    }
}

}  // namespace XS_ISA
}  // namespace xs
