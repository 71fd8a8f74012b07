// encode's forward pass, compiled once for each instruction set.
#include "encode/cells.h"
#include "width.h"

namespace xs {
namespace XS_ISA {

namespace {

// Levels above this many bytes are fetched ahead; smaller ones only pay for it.
constexpr int64_t kPrefetchBytes = 1 << 20;

// Points of a tile here: features are summed level after level into [level][point] order, where
// stores go on in memory, and turned to [point][level] in the second-level cache. Summing straight
// into the rows of the result would touch a line a point and level, all in few sets of the cache.
constexpr int kPoints = 256;
// Floats between levels there: a line more than the points fill, since lines a power of two apart
// share one set of the first-level cache, and turning reads one of each level at a time.
template <int F>
constexpr int kLevelStride = kPoints * F + 16;

// A pass's points where not all of the tile's see the level, and their weights.
struct Visible {
    Tile seen;
    int32_t place[kTile];
    alignas(64) float fade[kTile];
};

// One block: rows of the cells' corners; weights of the four edges along x, and of their upper
// ends; which points read other rows than the point before.
struct Block {
    alignas(64) uint32_t row[8][kBlock];
    alignas(64) float edge[4][kBlock];
    alignas(64) float upper[kBlock];
    uint8_t fresh[kBlock];
};

// Results of find_corners (encode/cells.h), with the weights still apart: half the stores.
template <bool kDense, bool kSmooth, bool kFaded>
void find_edges(const EncodeLevel& level, const Tile& __restrict tile, const float* __restrict fade,
                int begin, Block& __restrict block) {
    const float scale = level.scale;
    const uint32_t stride_y = kDense ? level.resolution : 2654435761u;
    const uint32_t stride_z = kDense ? level.resolution * level.resolution : 805459861u;
    const uint32_t limit = kDense ? level.rows : level.rows - 1;
    const auto fraction = [scale](float x, int32_t cell) {
        const float t = encode_fma(x, scale, 0.5f - static_cast<float>(cell));
        return kSmooth ? t * t * (3.0f - 2.0f * t) : t;
    };
    const auto row = [limit](uint32_t x, uint32_t yz) {
        if (kDense) {
            const uint32_t sum = x + yz;
            return sum < limit ? sum : sum - limit;
        }
        return (x ^ yz) & limit;
    };
    for (int i = 0; i < kBlock; ++i) {
        const float x = tile.x[begin + i];
        const float y = tile.y[begin + i];
        const float z = tile.z[begin + i];
        const auto cell_x = static_cast<int32_t>(encode_fma(x, scale, 0.5f));
        const auto cell_y = static_cast<int32_t>(encode_fma(y, scale, 0.5f));
        const auto cell_z = static_cast<int32_t>(encode_fma(z, scale, 0.5f));
        const float visible = kFaded ? fade[begin + i] : 1.0f;
        const float y1 = fraction(y, cell_y);
        const float z1 = fraction(z, cell_z) * visible;
        const float y0 = 1.0f - y1;
        const float z0 = visible - z1;
        block.upper[i] = fraction(x, cell_x);
        block.edge[0][i] = y0 * z0;
        block.edge[1][i] = y1 * z0;
        block.edge[2][i] = y0 * z1;
        block.edge[3][i] = y1 * z1;
        const auto x0 = static_cast<uint32_t>(cell_x);
        const uint32_t row_y0 = static_cast<uint32_t>(cell_y) * stride_y;
        const uint32_t row_z0 = static_cast<uint32_t>(cell_z) * stride_z;
        const uint32_t row_y1 = row_y0 + stride_y;
        const uint32_t row_z1 = row_z0 + stride_z;
        const uint32_t yz[4] = {
            kDense ? row_y0 + row_z0 : row_y0 ^ row_z0, kDense ? row_y1 + row_z0 : row_y1 ^ row_z0,
            kDense ? row_y0 + row_z1 : row_y0 ^ row_z1, kDense ? row_y1 + row_z1 : row_y1 ^ row_z1};
#pragma GCC unroll 4
        for (int edge = 0; edge < 4; ++edge) {
            block.row[2 * edge][i] = row(x0, yz[edge]);
            block.row[2 * edge + 1][i] = row(x0 + 1, yz[edge]);
        }
    }
}

using FindEdges = void (*)(const EncodeLevel&, const Tile&, const float*, int, Block&);

template <bool kFaded>
FindEdges edges_finder(const EncodeLevel& level, bool smoothstep) {
    if (level.dense) {
        return smoothstep ? find_edges<true, true, kFaded> : find_edges<true, false, kFaded>;
    }
    return smoothstep ? find_edges<false, true, kFaded> : find_edges<false, false, kFaded>;
}

// One level's points of a tile: those that see it, and what is read for them.
template <class T>
struct Pass {
    const EncodeLevel* level;
    FindEdges find;
    const T* rows;
    const Tile* points;
    const float* fade;     // null: 1
    const int32_t* place;  // null: in order
    int count;
    bool distant;
    float* out;
};

// Neighbouring points often lie in one cell: its rows are fetched and converted once.
void find_fresh(Block& block) {
    const auto& row = block.row;
    uint32_t differs[kBlock];
    for (int i = 1; i < kBlock; ++i) {
        uint32_t bits = 0;
        for (int c = 0; c < 8; ++c) {
            bits |= row[c][i] ^ row[c][i - 1];
        }
        differs[i] = bits;
    }
    differs[0] = 1;
    for (int i = 0; i < kBlock; ++i) {
        block.fresh[i] = differs[i] != 0;
    }
}

// Fetches a block's rows into L2: L1 has too few fill buffers to keep as many under way.
template <int F, class T>
void fetch_rows(const T* rows, const Block& block) {
    for (int i = 0; i < kBlock; ++i) {
        if (block.fresh[i]) {
            for (int c = 0; c < 8; ++c) {
                __builtin_prefetch(rows + size_t{block.row[c][i]} * F, 0, 2);
            }
        }
    }
}

template <int F, class T>
void make_block(const Pass<T>& pass, int begin, Block& block) {
    pass.find(*pass.level, *pass.points, pass.fade, begin, block);
    find_fresh(block);
    if (pass.distant) {
        fetch_rows<F>(pass.rows, block);
    }
}

template <int F, class T>
void sum_block(const Pass<T>& pass, int begin, const Block& block) {
    const int n = pass.count - begin < kBlock ? pass.count - begin : kBlock;
    Vec<F> row[8] = {};
    for (int i = 0; i < n; ++i) {
        if (block.fresh[i]) {
#pragma GCC unroll 8
            for (int c = 0; c < 8; ++c) {
                row[c] = load<F>(pass.rows + size_t{block.row[c][i]} * F);
            }
        }
        Vec<F> lower = block.edge[0][i] * row[0];
        Vec<F> upper = block.edge[0][i] * row[1];
#pragma GCC unroll 4
        for (int edge = 1; edge < 4; ++edge) {
            lower += block.edge[edge][i] * row[2 * edge];
            upper += block.edge[edge][i] * row[2 * edge + 1];
        }
        const int to = pass.place == nullptr ? begin + i : pass.place[begin + i];
        store<F>(pass.out + to * F, lower + block.upper[i] * (upper - lower));
    }
}

// A level that is faded out for every footprint from `least` on is not looked at; one that is not
// faded at all up to `most` needs no weights. The bounds hold whatever encode_fade rounds: at
// a = 1 / (sqrt(8) cells) = 4.2 its weight is 1 - 2^-28, at 0.0034 it is 0.98 / 256.
template <int F, class T>
Pass<T> prepare(const EncodeArgs& a, const EncodeLevel& level, const T* table, const Tile& tile,
                const float* footprint, float least, float most, int n, float* out,
                Visible& visible) {
    Pass<T> pass{&level,
                 edges_finder<false>(level, a.grid.smoothstep),
                 table + level.offset * F,
                 &tile,
                 nullptr,
                 nullptr,
                 n,
                 static_cast<int64_t>(level.rows) * F * int64_t{sizeof(T)} > kPrefetchBytes,
                 out};
    if (footprint == nullptr || most * level.scale * 4.2f < 0.35f) {
        return pass;
    }
    if (least * level.scale * 0.0034f > 0.36f) {
        pass.count = 0;
    } else {
        pass.count =
            select_visible(a, level, footprint, n, tile, visible.seen, visible.place, visible.fade);
        pass.points = &visible.seen;
        pass.place = visible.place;
        pass.fade = visible.fade;
        pass.find = edges_finder<true>(level, a.grid.smoothstep);
    }
    if (pass.count < n) {
        memset(out, 0, sizeof(float) * F * n);
    }
    return pass;
}

// Level after level over a tile's points, as one stream of blocks: while a block is summed, the
// rows of the next are on their way, be it of the same level or of the one after.
template <int F, class T>
void run_tile(const EncodeArgs& a, const EncodeGrid& grid, const T* table, const Tile& tile,
              const float* footprint, int n, float* out) {
    float least = 0.0f, most = 0.0f;
    if (footprint != nullptr) {
        least = INFINITY;
        for (int i = 0; i < n; ++i) {
            const float size = footprint[i] > 0.0f ? footprint[i] * a.grid.footprint_scale : 0.0f;
            least = size < least ? size : least;
            most = size > most ? size : most;
        }
    }
    Visible visible[2];
    Block block[2];
    const auto pass_of = [&](int32_t l) {
        return prepare<F>(a, grid.level[l], table, tile, footprint, least, most, n,
                          out + l * kLevelStride<F>, visible[l % 2]);
    };
    int slot = 0;
    Pass<T> pass = pass_of(0);
    if (pass.count > 0) {
        make_block<F>(pass, 0, block[0]);
    }
    for (int32_t l = 0; l < a.grid.levels; ++l) {
        Pass<T> next{};
        const auto start_next = [&] {
            if (l + 1 < a.grid.levels) {
                next = pass_of(l + 1);
                if (next.count > 0) {
                    make_block<F>(next, 0, block[slot]);
                }
            }
        };
        if (pass.count == 0) {
            start_next();
        }
        for (int begin = 0; begin < pass.count; begin += kBlock) {
            const Block& current = block[slot];
            slot ^= 1;
            if (begin + kBlock < pass.count) {
                make_block<F>(pass, begin + kBlock, block[slot]);
            } else {
                start_next();
            }
            sum_block<F>(pass, begin, current);
        }
        pass = next;
    }
}

template <int F, class T>
void run_chunk(const EncodeArgs& a, const EncodeGrid& grid, const T* table, int64_t begin,
               int64_t end, float* out) {
    Tile tile;
    alignas(64) float sums[kEncodeMaxLevels * kLevelStride<F>];
    for (int64_t first = begin; first < end; first += kPoints) {
        const int n = static_cast<int>(end - first < kPoints ? end - first : kPoints);
        load_tile(a.position + 3 * first, n, tile);
        run_tile<F, T>(a, grid, table, tile, a.footprint == nullptr ? nullptr : a.footprint + first,
                       n, sums);
        for (int i = 0; i < n; ++i) {
            for (int32_t l = 0; l < a.grid.levels; ++l) {
                store<F>(out, load<F>(sums + l * kLevelStride<F> + i * F));
                out += F;
            }
        }
    }
}

}  // namespace

void encode_forward_chunk(const EncodeArgs& a, const EncodeGrid& grid, int64_t begin, int64_t end,
                          float* out) {
    if (a.grid.table != nullptr) {
        with_width(a.grid.width,
                   [&](auto f) { run_chunk<f>(a, grid, a.grid.table, begin, end, out); });
    } else {
        with_width(a.grid.width,
                   [&](auto f) { run_chunk<f>(a, grid, a.grid.table_half, begin, end, out); });
    }
}

}  // namespace XS_ISA
}  // namespace xs
