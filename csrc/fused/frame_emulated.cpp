// The device passes of fused_frame, run on the host for tests.
#include "fused/frame_warp.h"
#include "launcher.h"

namespace xs {

void fused_frame_emulated(const FusedFrameArgs& a) {
    frame_passes(HostLauncher(), a);
}

int64_t fused_frame_scratch(const FusedFrameArgs& a) {
    return frame_net(a).packed_bytes();
}

}  // namespace xs
