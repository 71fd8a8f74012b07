// fused_frame on a GPU: a warp for each tile of the picture.
#include "fused/frame_warp.h"
#include "launcher_cuda.cuh"

namespace xs {

void fused_frame_cuda(const FusedFrameArgs& args, void* stream) {
    frame_passes(CudaLauncher(stream), args);
}

}  // namespace xs
