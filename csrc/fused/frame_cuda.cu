// fused_frame on a GPU: a warp for each tile of the picture.
#include "fused/frame_warp.h"
#include "warp_cuda.cuh"

namespace xs {

template <int F, int kShader>
struct FrameKernel {
    FusedFrameArgs args;
    EncodeArgs points;
    EncodeGrid grid;
    FrameNet net;

    __device__ void operator()(const DeviceWarp& warp, int64_t tile) const {
        frame_tile<F, kShader>(warp, args, points, grid, net, tile);
    }
};

void fused_frame_cuda(const FusedFrameArgs& args, void* stream_address) {
    const FusedFrameArgs a = args;
    const auto stream = static_cast<cudaStream_t>(stream_address);
    const EncodeArgs points = frame_encode_args(a);
    const EncodeGrid grid = encode_grid(a.grid);
    FrameNet net = frame_net(a);
    frame_place(net, a.scratch);
    parallel_for_cuda("fused_frame (weights)", net.halves + net.floats, stream,
                      [a, net] __device__(int64_t i) { frame_pack(a, net, i); });
    frame_pick(a, [&](auto features, auto shader) {
        for_each_warp_cuda("fused_frame", frame_tiles(a), net.bytes(), stream,
                           FrameKernel<features, shader>{a, points, grid, net});
    });
}

}  // namespace xs
