// encode's gradients, compiled once for each instruction set.
#include "encode/cells.h"
#include "width.h"

namespace xs {
namespace XS_ISA {

// Levels above this many bytes are fetched ahead; smaller ones only pay for it.
constexpr int64_t kPrefetchBytes = 1 << 20;

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
    const int64_t stride = static_cast<int64_t>(a.grid.levels) * F;
    const FindCorners find = corners_finder(level, a.grid.smoothstep);
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
    with_width(a.grid.width, [&](auto f) {
        backward_piece<f>(a, level, l, row_begin, row_end, begin, end, grad_features);
    });
}

void encode_position_chunk(const EncodeArgs& a, const EncodeGrid& grid, int64_t begin,
                           int64_t end) {
    for (int64_t point = begin; point < end; ++point) {
        encode_position_one(a, grid, point);
    }
}

}  // namespace XS_ISA
}  // namespace xs
