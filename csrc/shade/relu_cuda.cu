// shade_relu on a GPU: blocks that take tiles of rays.
#include "block_cuda.cuh"
#include "shade/relu_block.h"

namespace xs {

static int64_t tiles(const ShadeArgs& a) {
    return (a.rays + kTileRays - 1) / kTileRays;
}

int64_t shade_relu_scratch_cuda(const ShadeArgs& a) {
    return block_scratch_cuda("shade_relu", tiles(a), shade_relu_block_memory(a, false));
}

int64_t shade_relu_gradient_scratch_cuda(const ShadeArgs& a) {
    return block_scratch_cuda("shade_relu_gradient", tiles(a), shade_relu_block_memory(a, true));
}

void shade_relu_cuda(const ShadeArgs& args, void* stream) {
    const ShadeArgs a = args;
    for_each_block_cuda(
        "shade_relu", tiles(a), shade_relu_block_memory(a, false), a.scratch,
        static_cast<cudaStream_t>(stream), [a] __device__(const DeviceBlock& block) {
            shade_relu_block<false>(block, a, TensorEnds{a}, FloatProducts{a.weights});
        });
}

void shade_relu_gradient_cuda(const ShadeArgs& args, void* stream) {
    const ShadeArgs a = args;
    for_each_block_cuda(
        "shade_relu_gradient", tiles(a), shade_relu_block_memory(a, true), a.scratch,
        static_cast<cudaStream_t>(stream), [a] __device__(const DeviceBlock& block) {
            shade_relu_block<true>(block, a, TensorEnds{a}, FloatProducts{a.weights});
        });
}

}  // namespace xs
