// fused_step on a GPU: the passes of fused/step_block.h, launched in order.
#include "block_cuda.cuh"
#include "check.h"
#include "fused/step_block.h"

namespace xs {

// Blocks that share the tiles of rays, at most.
static int64_t blocks_of(const FusedStepArgs& a) {
    return block_limit_cuda("fused_step", (a.rays + kTileRays - 1) / kTileRays);
}

template <int F>
static void step(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes,
                 cudaStream_t stream) {
    parallel_for_cuda("fused_step (targets)", 3 * a.rays, stream,
                      [a, s] __device__(int64_t i) { step_target(a, s, i); });
    if (a.mixed) {
        const HalfPlan plan = step_plan(a);
        parallel_for_cuda(
            "fused_step (weights)", plan.halves, stream,
            [a, s, plan] __device__(int64_t i) { half_pack(plan, a.shade.weights, i, s.packed); });
    }
    step_shade(a, s, sizes, [&](const auto& kernel) {
        for_each_block_cuda("fused_step", blocks_of(a), step_block_memory(a), s.blocks, stream,
                            kernel);
    });
    parallel_for_cuda("fused_step (loss)", kStepSums, stream,
                      [a, s] __device__(int64_t i) { step_partial_sum(a, s, i); });
    parallel_for_cuda("fused_step (sums)", 2, stream,
                      [a, s] __device__(int64_t i) { step_sum(a, s, i); });
    if (s.fixed != nullptr || a.control != nullptr) {
        parallel_for_cuda("fused_step (gradients)", sizes.all(), stream,
                          [a, s, sizes] __device__(int64_t i) { step_finish(a, s, sizes, i); });
    }
    if (a.control != nullptr) {
        parallel_for_cuda("fused_step (control)", 1, stream,
                          [a, s] __device__(int64_t) { step_decide(a, s); });
    }
    const AdamArgs adam = step_adam_args(a);
    parallel_for_cuda("fused_step (rows)", a.grid.offsets[a.grid.levels] / 8, stream,
                      [a, adam] __device__(int64_t i) { step_rows<F>(a, adam, i); });
}

void fused_step_cuda(const FusedStepArgs& args, void* stream_address) {
    const FusedStepArgs a = args;
    const auto stream = static_cast<cudaStream_t>(stream_address);
    XS_CHECK(step_rows_aligned(a), "fused_step: rows of the table and its moments must be aligned");
    const StepGradients sizes = step_gradients(a);
    StepScratch s{};
    step_scratch(a, sizes, blocks_of(a), a.scratch, s);
    if (s.fixed != nullptr) {
        check_cuda(cudaMemsetAsync(s.fixed, 0, sizes.all() * sizeof(int64_t), stream),
                   "fused_step");
    }
    switch (a.grid.width) {
        case 1:
            step<1>(a, s, sizes, stream);
            break;
        case 2:
            step<2>(a, s, sizes, stream);
            break;
        case 4:
            step<4>(a, s, sizes, stream);
            break;
        default:
            step<8>(a, s, sizes, stream);
    }
}

int64_t fused_step_scratch_cuda(const FusedStepArgs& a) {
    StepScratch s{};
    return step_scratch(a, step_gradients(a), blocks_of(a), nullptr, s) +
           block_scratch_cuda("fused_step", blocks_of(a), step_block_memory(a));
}

}  // namespace xs
