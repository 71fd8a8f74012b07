// encode on the CPU: points over threads forwards, ranges of rows backwards.
#include "check.h"
#include "encode/ranges.h"
#include "encode/scatter.h"
#include "launcher.h"

namespace xs {

EncodeGrid encode_checked_grid(const GridArgs& g) {
    XS_CHECK(g.levels >= 1 && g.levels <= kEncodeMaxLevels, "encode: 1 to 32 levels");
    XS_CHECK(g.width == 1 || g.width == 2 || g.width == 4 || g.width == 8,
             "encode: 1, 2, 4 or 8 features a level");
    return encode_grid(g);
}

void encode_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a.grid);
    const auto chunk = XS_PICK(encode_forward_chunk);
    const int64_t stride = static_cast<int64_t>(a.grid.levels) * a.grid.width;
    parallel_ranges(a.points, 2048, [&](int64_t begin, int64_t end) {
        chunk(a, grid, begin, end, a.features + begin * stride);
    });
}

void encode_backward_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a.grid);
    const auto piece = XS_PICK(encode_backward_piece);
    encode_row_ranges(grid, a.grid.levels, [&](int32_t l, uint32_t begin, uint32_t end) {
        piece(a, grid, l, begin, end, 0, a.points, a.grad_features);
    });
}

void encode_backward_position_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_checked_grid(a.grid);
    const auto chunk = XS_PICK(encode_position_chunk);
    parallel_ranges(a.points, 1024,
                    [&](int64_t begin, int64_t end) { chunk(a, grid, begin, end); });
}

void encode_emulated(const EncodeArgs& a) {
    encode_forward_on(HostLauncher(), a);
}

void encode_backward_emulated(const EncodeArgs& a) {
    encode_backward_on(HostLauncher(), a);
}

void encode_backward_position_emulated(const EncodeArgs& a) {
    encode_position_on(HostLauncher(), a);
}

}  // namespace xs
