// fused_step on a GPU: the passes of fused/step_block.h.
#include "check.h"
#include "fused/step_block.h"
#include "launcher_cuda.cuh"

namespace xs {

void fused_step_cuda(const FusedStepArgs& a, void* stream) {
    XS_CHECK(step_rows_aligned(a), "fused_step: rows of the table and its moments must be aligned");
    step_on(CudaLauncher(stream), a);
}

int64_t fused_step_scratch_cuda(const FusedStepArgs& a) {
    return step_scratch_on(CudaLauncher(nullptr), a);
}

}  // namespace xs
