// encode on the CPU: points over threads forwards, ranges of rows backwards.
#include "check.h"
#include "encode/ranges.h"

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

void encode_backward_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a);
    const auto piece = XS_PICK(encode_backward_piece);
    encode_row_ranges(grid, a.levels, [&](int32_t l, uint32_t begin, uint32_t end) {
        piece(a, grid, l, begin, end, 0, a.points, a.grad_features);
    });
}

void encode_backward_position_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a);
    const auto chunk = XS_PICK(encode_position_chunk);
    parallel_ranges(a.points, 1024,
                    [&](int64_t begin, int64_t end) { chunk(a, grid, begin, end); });
}

}  // namespace xs
