// fused_frame on a GPU: warps that take tiles of the picture.
#include "fused/frame_warp.h"
#include "launcher_cuda.cuh"

namespace xs {

void fused_frame_cuda(const FusedFrameArgs& args, void* stream) {
    frame_passes(CudaLauncher(stream), args);
}

int64_t fused_frame_scratch_cuda(const FusedFrameArgs& args) {
    return frame_net(args).packed_bytes();
}

}  // namespace xs
