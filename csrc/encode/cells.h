// Cells of points at one level, many points side by side: what encode's bodies and fused_step
// share.
//
// Included by SIMD sources only: each instruction set gets its own copy (isa.h).
#pragma once

#include "encode/encode.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

// Rows of 8 floats are passed between functions of one file only, so how they are passed (in
// memory without AVX) concerns nobody else.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace xs {
namespace XS_ISA {

// Points whose indices and weights are made together: long enough for full vectors, short enough
// that the rows fetched ahead are still in the cache when they are summed.
constexpr int kBlock = 32;
// Points treated level after level: one level's rows stay hot, the features stay in L2.
constexpr int kTile = 1024;

template <int F>
struct Vector {
    typedef float type __attribute__((vector_size(4 * F)));
};
template <>
struct Vector<1> {
    using type = float;
};
template <int F>
using Vec = typename Vector<F>::type;

template <int F>
inline Vec<F> load(const float* row) {
    Vec<F> values;
    memcpy(&values, row, sizeof values);
    return values;
}

#if defined(__F16C__)
template <int F>
inline Vec<F> load(const Half* row) {
    if constexpr (F == 8) {
        return (Vec<8>)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
    } else if constexpr (F == 4) {
        return (Vec<4>)_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row)));
    } else if constexpr (F == 2) {
        int32_t bits;
        memcpy(&bits, row, 4);
        const auto values = (Vec<4>)_mm_cvtph_ps(_mm_cvtsi32_si128(bits));
        return __builtin_shufflevector(values, values, 0, 1);
    } else {
        return _cvtsh_ss(row->bits);
    }
}
#else
template <int F>
inline Vec<F> load(const Half* row) {
    if constexpr (F == 1) {
        return half_to_float(*row);
    } else {
        Vec<F> values;
        for (int f = 0; f < F; ++f) {
            values[f] = half_to_float(row[f]);
        }
        return values;
    }
}
#endif

template <int F>
inline void store(float* row, Vec<F> values) {
    memcpy(row, &values, sizeof values);
}

// Points side by side, so that a vector holds one coordinate of many.
struct Tile {
    alignas(64) float x[kTile], y[kTile], z[kTile];
};

// Corners of one block: rows of the eight corners and their weights, corner-major.
struct Corners {
    alignas(64) uint32_t row[8][kBlock];
    alignas(64) float weight[8][kBlock];
};

static inline void load_tile(const float* position, int n, Tile& tile) {
    for (int i = 0; i < n; ++i) {
        tile.x[i] = encode_clamp(position[3 * i]);
        tile.y[i] = encode_clamp(position[3 * i + 1]);
        tile.z[i] = encode_clamp(position[3 * i + 2]);
    }
    for (int i = n; i < kTile && i % kBlock != 0; ++i) {
        tile.x[i] = tile.y[i] = tile.z[i] = 0.0f;  // blocks are computed whole
    }
}

// The points that see a level at all: their number, places in the tile, weights and coordinates.
static inline int select_visible(const EncodeArgs& a, const EncodeLevel& level,
                                 const float* footprint, int n, const Tile& tile, Tile& seen,
                                 int32_t* place, float* fade) {
    alignas(64) float weight[kTile];
    for (int i = 0; i < n; ++i) {
        weight[i] = encode_fade(footprint[i] * a.grid.footprint_scale, level.scale);
    }
    int count = 0;
    for (int i = 0; i < n; ++i) {
        place[count] = i;
        fade[count] = weight[i];
        seen.x[count] = tile.x[i];
        seen.y[count] = tile.y[i];
        seen.z[count] = tile.z[i];
        count += weight[i] != 0.0f;
    }
    for (int i = count; i < kTile && i % kBlock != 0; ++i) {
        seen.x[i] = seen.y[i] = seen.z[i] = fade[i] = 0.0f;
    }
    return count;
}

template <bool kDense, bool kSmooth>
static inline void find_corners(const EncodeLevel& level, const Tile& tile, const float* fade,
                                int begin, Corners& corners) {
    const float scale = level.scale;
    const uint32_t stride_y = kDense ? level.resolution : 2654435761u;
    const uint32_t stride_z = kDense ? level.resolution * level.resolution : 805459861u;
    const uint32_t limit = kDense ? level.rows : level.rows - 1;
    const auto fraction = [scale](float x, int32_t cell) {
        const float t = encode_fma(x, scale, 0.5f - static_cast<float>(cell));
        return kSmooth ? t * t * (3.0f - 2.0f * t) : t;
    };
    const auto row = [limit](uint32_t x, uint32_t y, uint32_t z) {
        if (kDense) {
            const uint32_t sum = x + y + z;
            return sum < limit ? sum : sum - limit;
        }
        return (x ^ y ^ z) & limit;
    };
    for (int i = 0; i < kBlock; ++i) {
        const float x = tile.x[begin + i];
        const float y = tile.y[begin + i];
        const float z = tile.z[begin + i];
        const auto cell_x = static_cast<int32_t>(encode_fma(x, scale, 0.5f));
        const auto cell_y = static_cast<int32_t>(encode_fma(y, scale, 0.5f));
        const auto cell_z = static_cast<int32_t>(encode_fma(z, scale, 0.5f));
        const float x1 = fraction(x, cell_x);
        const float y1 = fraction(y, cell_y);
        const float visible = fade == nullptr ? 1.0f : fade[begin + i];
        const float z1 = fraction(z, cell_z) * visible;
        const float x0 = 1.0f - x1;
        const float y0 = 1.0f - y1;
        const float z0 = visible - z1;
        const auto row_x0 = static_cast<uint32_t>(cell_x);
        const auto row_y0 = static_cast<uint32_t>(cell_y) * stride_y;
        const auto row_z0 = static_cast<uint32_t>(cell_z) * stride_z;
        const uint32_t row_x1 = row_x0 + 1;
        const uint32_t row_y1 = row_y0 + stride_y;
        const uint32_t row_z1 = row_z0 + stride_z;
        corners.row[0][i] = row(row_x0, row_y0, row_z0);
        corners.row[1][i] = row(row_x1, row_y0, row_z0);
        corners.row[2][i] = row(row_x0, row_y1, row_z0);
        corners.row[3][i] = row(row_x1, row_y1, row_z0);
        corners.row[4][i] = row(row_x0, row_y0, row_z1);
        corners.row[5][i] = row(row_x1, row_y0, row_z1);
        corners.row[6][i] = row(row_x0, row_y1, row_z1);
        corners.row[7][i] = row(row_x1, row_y1, row_z1);
        corners.weight[0][i] = x0 * y0 * z0;
        corners.weight[1][i] = x1 * y0 * z0;
        corners.weight[2][i] = x0 * y1 * z0;
        corners.weight[3][i] = x1 * y1 * z0;
        corners.weight[4][i] = x0 * y0 * z1;
        corners.weight[5][i] = x1 * y0 * z1;
        corners.weight[6][i] = x0 * y1 * z1;
        corners.weight[7][i] = x1 * y1 * z1;
    }
}

using FindCorners = void (*)(const EncodeLevel&, const Tile&, const float*, int, Corners&);

static inline FindCorners corners_finder(const EncodeLevel& level, bool smoothstep) {
    if (level.dense) {
        return smoothstep ? find_corners<true, true> : find_corners<true, false>;
    }
    return smoothstep ? find_corners<false, true> : find_corners<false, false>;
}

}  // namespace XS_ISA
}  // namespace xs
