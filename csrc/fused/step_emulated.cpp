// The device passes of fused_step, run on the host for tests.
#include "fused/step_block.h"
#include "launcher.h"

namespace xs {

void fused_step_emulated(const FusedStepArgs& a) {
    step_on(HostLauncher(), a);
}

int64_t fused_step_scratch(const FusedStepArgs& a) {
    return step_scratch_on(HostLauncher(), a);
}

}  // namespace xs
