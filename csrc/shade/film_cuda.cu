// shade_film on a GPU: blocks that take tiles of rays.
#include "block_cuda.cuh"
#include "shade/film_block.h"

namespace xs {

static int64_t tiles(const ShadeArgs& a) {
    return (a.rays + kTileRays - 1) / kTileRays;
}

int64_t shade_film_scratch_cuda(const ShadeArgs& a) {
    return block_scratch_cuda("shade_film", tiles(a), shade_film_block_memory(a));
}

void shade_film_cuda(const ShadeArgs& args, void* stream) {
    const ShadeArgs a = args;
    for_each_block_cuda(
        "shade_film", tiles(a), shade_film_block_memory(a), a.scratch,
        static_cast<cudaStream_t>(stream), [a] __device__(const DeviceBlock& block) {
            shade_film_block<false>(block, a, TensorEnds{a}, FloatProducts{a.weights});
        });
}

void shade_film_gradient_cuda(const ShadeArgs& args, void* stream) {
    const ShadeArgs a = args;
    for_each_block_cuda(
        "shade_film_gradient", tiles(a), shade_film_block_memory(a), a.scratch,
        static_cast<cudaStream_t>(stream), [a] __device__(const DeviceBlock& block) {
            shade_film_block<true>(block, a, TensorEnds{a}, FloatProducts{a.weights});
        });
}

}  // namespace xs
