#include "block_cuda.cuh"
#include "check.h"
#include "ops/fused_step_block.h"

namespace xs {

template <int F>
static void shade(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes,
                  cudaStream_t stream) {
    const EncodeArgs points = step_encode_args(a);
    const EncodeGrid grid = encode_grid(points);
    const int64_t tiles = (a.rays + kTileRays - 1) / kTileRays;
    if (a.light == nullptr) {
        ShadeReluArgs args = step_relu_args(a, s);
        step_fix_sums(s, sizes, args);
        for_each_block_cuda("fused_step", tiles, step_memory(shade_relu_block_memory(args, true)),
                            stream, [a, args, points, grid] __device__(const DeviceBlock& block) {
                                shade_relu_block<true>(block, args, StepEnds<F>{a, points, grid});
                            });
    } else {
        ShadeFilmArgs args = step_film_args(a, s);
        step_fix_sums(s, sizes, args);
        for_each_block_cuda("fused_step", tiles, step_memory(shade_film_block_memory(args)), stream,
                            [a, args, points, grid] __device__(const DeviceBlock& block) {
                                shade_film_block<true>(block, args, StepEnds<F>{a, points, grid});
                            });
    }
}

template <int F>
static void step(const FusedStepArgs& a, const StepScratch& s, const StepGradients& sizes,
                 cudaStream_t stream) {
    parallel_for_cuda("fused_step (targets)", 3 * a.rays, stream,
                      [a, s] __device__(int64_t i) { step_target(a, s, i); });
    shade<F>(a, s, sizes, stream);
    parallel_for_cuda("fused_step (loss)", kStepSums, stream,
                      [a, s] __device__(int64_t i) { step_partial_sum(a, s, i); });
    parallel_for_cuda("fused_step (sums)", 2, stream,
                      [a, s] __device__(int64_t i) { step_sum(a, s, i); });
    if (s.fixed != nullptr) {
        parallel_for_cuda("fused_step (gradients)", sizes.all(), stream,
                          [a, s, sizes] __device__(int64_t i) { step_unfix(a, s, sizes, i); });
    }
    const AdamArgs adam = step_adam_args(a);
    parallel_for_cuda("fused_step (rows)", a.offsets[a.levels] / 8, stream,
                      [a, adam] __device__(int64_t i) { step_rows<F>(a, adam, i); });
}

void fused_step_cuda(const FusedStepArgs& args, void* stream_address) {
    const FusedStepArgs a = args;
    const auto stream = static_cast<cudaStream_t>(stream_address);
    XS_CHECK(step_rows_aligned(a), "fused_step: rows of the table and its moments must be aligned");
    const StepGradients sizes = step_gradients(a);
    StepScratch s{};
    void* memory = nullptr;
    check_cuda(cudaMallocAsync(&memory, step_scratch(a, sizes, nullptr, s), stream), "fused_step");
    step_scratch(a, sizes, memory, s);
    if (s.fixed != nullptr) {
        check_cuda(cudaMemsetAsync(s.fixed, 0, sizes.all() * sizeof(int64_t), stream),
                   "fused_step");
    }
    switch (a.width) {
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
    check_cuda(cudaFreeAsync(memory, stream), "fused_step");
}

}  // namespace xs
