// shade_relu on a GPU: blocks that take tiles of rays.
#include "launcher_cuda.cuh"
#include "shade/relu_block.h"

namespace xs {

int64_t shade_relu_scratch_cuda(const ShadeArgs& a) {
    return shade_relu_pass_scratch<false>(CudaLauncher(nullptr), a);
}

int64_t shade_relu_gradient_scratch_cuda(const ShadeArgs& a) {
    return shade_relu_pass_scratch<true>(CudaLauncher(nullptr), a);
}

void shade_relu_cuda(const ShadeArgs& args, void* stream) {
    shade_relu_pass<false>(CudaLauncher(stream), args);
}

void shade_relu_gradient_cuda(const ShadeArgs& args, void* stream) {
    shade_relu_pass<true>(CudaLauncher(stream), args);
}

}  // namespace xs
