// Ceiling of encode: reads the rows that points touch, compiled once for each instruction set.
#include "ceiling/ceiling.h"
#include "encode/cells.h"
#include "width.h"

namespace xs {
namespace XS_ISA {

namespace {

// Reads the rows of a block's points, which have been asked for.
template <int F, class T>
uint64_t read_rows(const T* rows, const Corners& corners, int count) {
    uint64_t seen = 0;
    for (int i = 0; i < count; ++i) {
        for (int c = 0; c < 8; ++c) {
            uint16_t part;
            memcpy(&part, rows + size_t{corners.row[c][i]} * F, sizeof part);
            seen ^= part;
        }
    }
    return seen;
}

template <int F, class T>
uint64_t touch(const EncodeArgs& a, const EncodeGrid& grid, const T* table, int64_t begin,
               int64_t end) {
    uint64_t seen = 0;
    Tile tile;
    Corners corners[2];
    for (int64_t first = begin; first < end; first += kTile) {
        const int n = static_cast<int>(end - first < kTile ? end - first : kTile);
        load_tile(a.position + 3 * first, n, tile);
        for (int32_t l = 0; l < a.grid.levels; ++l) {
            const EncodeLevel& level = grid.level[l];
            const FindCorners find = corners_finder(level, a.grid.smoothstep);
            const T* rows = table + level.offset * F;
            // While a block is read, the rows of the next are on their way.
            for (int at = 0; at < n + kBlock; at += kBlock) {
                const int slot = at / kBlock % 2;
                const int count = n - at < kBlock ? n - at : kBlock;
                if (count > 0) {
                    find(level, tile, nullptr, at, corners[slot]);
                    for (int i = 0; i < count; ++i) {
                        for (int c = 0; c < 8; ++c) {
                            __builtin_prefetch(rows + size_t{corners[slot].row[c][i]} * F);
                        }
                    }
                }
                if (at > 0) {
                    const int before = n - at + kBlock < kBlock ? n - at + kBlock : kBlock;
                    seen ^= read_rows<F>(rows, corners[1 - slot], before);
                }
            }
        }
    }
    return seen;
}

}  // namespace

uint64_t encode_touch_chunk(const EncodeArgs& a, const EncodeGrid& grid, int64_t begin,
                            int64_t end) {
    return with_width(a.grid.width, [&](auto f) {
        return a.grid.table != nullptr ? touch<f>(a, grid, a.grid.table, begin, end)
                                       : touch<f>(a, grid, a.grid.table_half, begin, end);
    });
}

}  // namespace XS_ISA
}  // namespace xs
