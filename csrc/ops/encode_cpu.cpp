#include <algorithm>

#include "check.h"
#include "ops/encode.h"
#include "parallel_cpu.h"

namespace xs {

EncodeGrid encode_checked_grid(const EncodeArgs& a) {
    XS_CHECK(a.levels >= 1 && a.levels <= kEncodeMaxLevels, "encode: 1 to 32 levels");
    XS_CHECK(a.width == 1 || a.width == 2 || a.width == 4 || a.width == 8,
             "encode: 1, 2, 4 or 8 features a level");
    return encode_grid(a);
}

void encode_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a);
    const auto chunk = XS_PICK(encode_forward_chunk);
    const int64_t stride = static_cast<int64_t>(a.levels) * a.width;
    parallel_ranges(a.points, 2048, [&](int64_t begin, int64_t end) {
        chunk(a, grid, begin, end, a.features + begin * stride);
    });
}

// A piece is a range of rows of one level, and whoever takes it goes through all points: no
// atomics, and a row sums in the order of the points whatever the number of threads or pieces.
// Every range of a level repeats the index work, so levels are cut only as far as threads need.
void encode_backward_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a);
    const auto piece = XS_PICK(encode_backward_piece);
    const int64_t wanted = 4 * static_cast<int64_t>(omp_get_max_threads());
    const int64_t ranges = std::max<int64_t>(1, wanted / a.levels);
    parallel_for(a.levels * ranges, [&](int64_t index) {
        // The finest level first: large pieces at the end would leave threads idle.
        const int32_t l = a.levels - 1 - static_cast<int32_t>(index / ranges);
        const uint64_t rows = grid.level[l].rows;
        const uint64_t range = static_cast<uint64_t>(index % ranges);
        const auto cut = [&](uint64_t i) {
            return static_cast<uint32_t>(i == static_cast<uint64_t>(ranges)
                                             ? rows
                                             : rows * i / static_cast<uint64_t>(ranges) / 8 * 8);
        };
        piece(a, grid, l, cut(range), cut(range + 1), 0, a.points, a.grad_features);
    });
}

void encode_backward_position_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a);
    const auto chunk = XS_PICK(encode_position_chunk);
    parallel_ranges(a.points, 1024,
                    [&](int64_t begin, int64_t end) { chunk(a, grid, begin, end); });
}

}  // namespace xs
