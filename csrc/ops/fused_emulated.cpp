#include <cmath>
#include <cstring>
#include <vector>

#include "ops/fused_frame_warp.h"

namespace xs {

void fused_frame_emulated(const FusedFrameArgs& a) {
    const EncodeArgs points = frame_encode_args(a);
    const EncodeGrid grid = encode_grid(points);
    FrameNet net = frame_net(a);
    std::vector<uint64_t> packed((net.packed_bytes() + 7) / 8);
    frame_place(net, packed.data());
    for (int64_t i = 0; i < net.halves + net.floats; ++i) {
        frame_pack(a, net, i);
    }
    std::vector<uint64_t> memory((net.bytes() + 7) / 8);
    frame_pick(a, [&](auto features, auto shader) {
        for (int64_t tile = 0; tile < frame_tiles(a); ++tile) {
            // All NaN, as halves and as floats: a kernel that reads what it has not written shows.
            std::memset(memory.data(), 0xff, memory.size() * sizeof(uint64_t));
            const HostWarp warp{reinterpret_cast<char*>(memory.data())};
            frame_tile<features, shader>(warp, a, points, grid, net, tile);
        }
    });
}

}  // namespace xs
