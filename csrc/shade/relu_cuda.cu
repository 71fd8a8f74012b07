// shade_relu on a GPU: blocks that take tiles of rays.
#include "block_cuda.cuh"
#include "shade/relu_block.h"

namespace xs {

static int64_t tiles(const ShadeReluArgs& a) {
    return (a.rays + kTileRays - 1) / kTileRays;
}

int64_t shade_relu_scratch_cuda(const ShadeReluArgs& a) {
    return block_scratch_cuda("shade_relu", tiles(a), shade_relu_block_memory(a, false));
}

int64_t shade_relu_gradient_scratch_cuda(const ShadeReluArgs& a) {
    return block_scratch_cuda("shade_relu_gradient", tiles(a), shade_relu_block_memory(a, true));
}

void shade_relu_cuda(const ShadeReluArgs& args, void* stream) {
    const ShadeReluArgs a = args;
    for_each_block_cuda("shade_relu", tiles(a), shade_relu_block_memory(a, false), a.scratch,
                        static_cast<cudaStream_t>(stream),
                        [a] __device__(const DeviceBlock& block) {
                            shade_relu_block<false>(block, a, TensorEnds<ShadeReluArgs>{a},
                                                    FloatProducts{a.weights});
                        });
}

void shade_relu_gradient_cuda(const ShadeReluArgs& args, void* stream) {
    const ShadeReluArgs a = args;
    for_each_block_cuda("shade_relu_gradient", tiles(a), shade_relu_block_memory(a, true),
                        a.scratch, static_cast<cudaStream_t>(stream),
                        [a] __device__(const DeviceBlock& block) {
                            shade_relu_block<true>(block, a, TensorEnds<ShadeReluArgs>{a},
                                                   FloatProducts{a.weights});
                        });
}

}  // namespace xs
