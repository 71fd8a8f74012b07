#include "ops/encode.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

// Rows of 8 floats are passed between functions of this file only, so how they are passed (in
// memory without AVX) concerns nobody else.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace xs {
namespace XS_ISA {

// Points whose indices and weights are made together: long enough for full vectors, short enough
// that the rows fetched ahead are still in the cache when they are summed.
constexpr int kBlock = 32;
// Points treated level after level: one level's rows stay hot, the features stay in L2.
constexpr int kTile = 1024;
// Levels above this many bytes are fetched ahead; smaller ones only pay for it.
constexpr int64_t kPrefetchBytes = 1 << 20;

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

// Of one block: rows of the eight corners and their weights, corner-major.
struct Corners {
    alignas(64) uint32_t row[8][kBlock];
    alignas(64) float weight[8][kBlock];
};

static void load_tile(const float* position, int n, Tile& tile) {
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
static int select_visible(const EncodeArgs& a, const EncodeLevel& level, const float* footprint,
                          int n, const Tile& tile, Tile& seen, int32_t* place, float* fade) {
    alignas(64) float weight[kTile];
    for (int i = 0; i < n; ++i) {
        weight[i] = encode_fade(footprint[i] * a.footprint_scale, level.scale);
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
static void find_corners(const EncodeLevel& level, const Tile& tile, const float* fade, int begin,
                         Corners& corners) {
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

static FindCorners corners_finder(const EncodeLevel& level, bool smoothstep) {
    if (level.dense) {
        return smoothstep ? find_corners<true, true> : find_corners<true, false>;
    }
    return smoothstep ? find_corners<false, true> : find_corners<false, false>;
}

template <int F, class T>
static int64_t size_in_bytes(const EncodeLevel& level) {
    return static_cast<int64_t>(level.rows) * F * int64_t{sizeof(T)};
}

// Fetches a block's rows into L2: L1 has too few fill buffers to keep as many under way.
template <class T>
static void fetch_ahead(const T* rows, int64_t stride, const Corners& corners) {
    const uint32_t* row = corners.row[0];
    for (int i = 0; i < 8 * kBlock; ++i) {
        __builtin_prefetch(rows + row[i] * stride, 0, 2);
    }
}

template <int F, class T>
static void sum_rows(const T* rows, const Corners& corners, int n, const int32_t* place, float* out,
                     int64_t stride) {
    for (int i = 0; i < n; ++i) {
        Vec<F> even = corners.weight[0][i] * load<F>(rows + size_t{corners.row[0][i]} * F);
        Vec<F> odd = corners.weight[1][i] * load<F>(rows + size_t{corners.row[1][i]} * F);
        for (int c = 2; c < 8; c += 2) {
            even += corners.weight[c][i] * load<F>(rows + size_t{corners.row[c][i]} * F);
            odd += corners.weight[c + 1][i] * load<F>(rows + size_t{corners.row[c + 1][i]} * F);
        }
        store<F>(out + (place == nullptr ? i : place[i]) * stride, even + odd);
    }
}

// One level of a tile's `n` points: while a block is summed, the rows of the next are on their way.
template <int F, class T>
static void forward_level(const T* rows, const EncodeLevel& level, bool smoothstep,
                          const Tile& tile, const float* fade, const int32_t* place, int n,
                          float* out, int64_t stride) {
    const FindCorners find = corners_finder(level, smoothstep);
    const bool distant = size_in_bytes<F, T>(level) > kPrefetchBytes;
    Corners corners[2];
    if (n > 0) {
        find(level, tile, fade, 0, corners[0]);
    }
    for (int begin = 0; begin < n; begin += kBlock) {
        const Corners& current = corners[begin / kBlock % 2];
        Corners& next = corners[(begin / kBlock + 1) % 2];
        if (begin + kBlock < n) {
            find(level, tile, fade, begin + kBlock, next);
            if (distant) {
                fetch_ahead(rows, F, next);
            }
        }
        const int count = n - begin < kBlock ? n - begin : kBlock;
        if (place == nullptr) {
            sum_rows<F>(rows, current, count, nullptr, out + begin * stride, stride);
        } else {
            sum_rows<F>(rows, current, count, place + begin, out, stride);
        }
    }
}

template <int F, class T>
static void forward_chunk(const EncodeArgs& a, const EncodeGrid& grid, const T* table,
                          int64_t begin, int64_t end, float* out) {
    const int64_t stride = static_cast<int64_t>(a.levels) * F;
    Tile tile;
    Tile seen;
    int32_t place[kTile];
    alignas(64) float fade[kTile];
    for (int64_t first = begin; first < end; first += kTile) {
        const int n = static_cast<int>(end - first < kTile ? end - first : kTile);
        float* features = out + (first - begin) * stride;
        load_tile(a.position + 3 * first, n, tile);
        for (int32_t l = 0; l < a.levels; ++l) {
            const EncodeLevel& level = grid.level[l];
            const T* rows = table + level.offset * F;
            if (a.footprint == nullptr) {
                forward_level<F>(rows, level, a.smoothstep, tile, nullptr, nullptr, n,
                                 features + l * F, stride);
                continue;
            }
            const int count =
                select_visible(a, level, a.footprint + first, n, tile, seen, place, fade);
            if (count < n) {
                for (int i = 0; i < n; ++i) {
                    store<F>(features + i * stride + l * F, Vec<F>{});
                }
            }
            forward_level<F>(rows, level, a.smoothstep, seen, fade, place, count, features + l * F,
                             stride);
        }
    }
}

template <class T>
static void forward_any_width(const EncodeArgs& a, const EncodeGrid& grid, const T* table,
                              int64_t begin, int64_t end, float* out) {
    switch (a.width) {
        case 1:
            return forward_chunk<1>(a, grid, table, begin, end, out);
        case 2:
            return forward_chunk<2>(a, grid, table, begin, end, out);
        case 4:
            return forward_chunk<4>(a, grid, table, begin, end, out);
        default:
            return forward_chunk<8>(a, grid, table, begin, end, out);
    }
}

void encode_forward_chunk(const EncodeArgs& a, const EncodeGrid& grid, int64_t begin, int64_t end,
                          float* out) {
    if (a.table != nullptr) {
        forward_any_width(a, grid, a.table, begin, end, out);
    } else {
        forward_any_width(a, grid, a.table_half, begin, end, out);
    }
}

// Adds a block's gradients to rows [row_begin, row_end); kAll says that this is the whole level.
template <int F, bool kAll>
static void add_rows(float* rows, int64_t row_stride, uint8_t* touched, uint32_t row_begin,
                     uint32_t row_end, const Corners& corners, int n, const int32_t* place,
                     const float* grad, int64_t stride) {
    for (int i = 0; i < n; ++i) {
        const Vec<F> g = load<F>(grad + (place == nullptr ? i : place[i]) * stride);
        for (int c = 0; c < 8; ++c) {
            const uint32_t row = corners.row[c][i];
            if (!kAll && row - row_begin >= row_end - row_begin) {
                continue;
            }
            float* sum = rows + row * row_stride;
            store<F>(sum, load<F>(sum) + corners.weight[c][i] * g);
            if (touched != nullptr) {
                touched[row >> 3] |= static_cast<uint8_t>(1u << (row & 7));
            }
        }
    }
}

template <int F>
static void backward_piece(const EncodeArgs& a, const EncodeLevel& level, int32_t l,
                           uint32_t row_begin, uint32_t row_end, int64_t begin, int64_t end,
                           const float* grad_features) {
    const int64_t stride = static_cast<int64_t>(a.levels) * F;
    const FindCorners find = corners_finder(level, a.smoothstep);
    const auto add =
        row_begin == 0 && row_end == level.rows ? add_rows<F, true> : add_rows<F, false>;
    float* rows = a.grad_table + level.offset * a.grad_stride;
    uint8_t* touched = a.touched == nullptr ? nullptr : a.touched + level.offset / 8;
    const bool distant = size_in_bytes<F, float>(level) > kPrefetchBytes;
    Tile tile;
    Tile seen;
    Corners corners[2];
    int32_t place[kTile];
    alignas(64) float fade[kTile];
    for (int64_t first = begin; first < end; first += kTile) {
        int n = static_cast<int>(end - first < kTile ? end - first : kTile);
        const float* grad = grad_features + (first - begin) * stride + l * F;
        load_tile(a.position + 3 * first, n, tile);
        const bool fading = a.footprint != nullptr;
        if (fading) {
            n = select_visible(a, level, a.footprint + first, n, tile, seen, place, fade);
        }
        const Tile& points = fading ? seen : tile;
        const float* visible = fading ? fade : nullptr;
        if (n > 0) {
            find(level, points, visible, 0, corners[0]);
        }
        for (int i = 0; i < n; i += kBlock) {
            if (i + kBlock < n) {
                Corners& next = corners[(i / kBlock + 1) % 2];
                find(level, points, visible, i + kBlock, next);
                if (distant) {
                    fetch_ahead(rows, a.grad_stride, next);
                }
            }
            const int count = n - i < kBlock ? n - i : kBlock;
            add(rows, a.grad_stride, touched, row_begin, row_end, corners[i / kBlock % 2], count,
                fading ? place + i : nullptr, fading ? grad : grad + i * stride, stride);
        }
    }
}

void encode_backward_piece(const EncodeArgs& a, const EncodeGrid& grid, int32_t l,
                           uint32_t row_begin, uint32_t row_end, int64_t begin, int64_t end,
                           const float* grad_features) {
    const EncodeLevel& level = grid.level[l];
    switch (a.width) {
        case 1:
            return backward_piece<1>(a, level, l, row_begin, row_end, begin, end, grad_features);
        case 2:
            return backward_piece<2>(a, level, l, row_begin, row_end, begin, end, grad_features);
        case 4:
            return backward_piece<4>(a, level, l, row_begin, row_end, begin, end, grad_features);
        default:
            return backward_piece<8>(a, level, l, row_begin, row_end, begin, end, grad_features);
    }
}

void encode_position_chunk(const EncodeArgs& a, const EncodeGrid& grid, int64_t begin,
                           int64_t end) {
    for (int64_t point = begin; point < end; ++point) {
        float grad[3] = {0.0f, 0.0f, 0.0f};
        for (int32_t l = 0; l < a.levels; ++l) {
            encode_position_gradient(a, grid.level[l], l, point, grad);
        }
        for (int axis = 0; axis < 3; ++axis) {
            a.grad_position[3 * point + axis] = grad[axis];
        }
    }
}

}  // namespace XS_ISA
}  // namespace xs
