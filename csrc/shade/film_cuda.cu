// shade_film on a GPU: blocks that take tiles of rays.
#include "launcher_cuda.cuh"
#include "shade/film_block.h"

namespace xs {

int64_t shade_film_scratch_cuda(const ShadeArgs& a) {
    return shade_film_pass_scratch<false>(CudaLauncher(nullptr), a);
}

void shade_film_cuda(const ShadeArgs& args, void* stream) {
    shade_film_pass<false>(CudaLauncher(stream), args);
}

void shade_film_gradient_cuda(const ShadeArgs& args, void* stream) {
    shade_film_pass<true>(CudaLauncher(stream), args);
}

}  // namespace xs
