// The shaders' device kernels, run on the host for tests.
#include "emulated.h"

#include "shade/film_block.h"
#include "shade/relu_block.h"

namespace xs {

// Blocks on the host have memory of their own.
int64_t shade_relu_scratch(const ShadeArgs&) {
    return 0;
}

int64_t shade_film_scratch(const ShadeArgs&) {
    return 0;
}

void shade_relu_emulated(const ShadeArgs& a) {
    for_each_block_emulated(shade_relu_block_memory(a, false), [&](const HostBlock& block) {
        shade_relu_block<false>(block, a, TensorEnds{a}, FloatProducts{a.weights});
    });
}

void shade_relu_gradient_emulated(const ShadeArgs& a) {
    for_each_block_emulated(shade_relu_block_memory(a, true), [&](const HostBlock& block) {
        shade_relu_block<true>(block, a, TensorEnds{a}, FloatProducts{a.weights});
    });
}

void shade_film_emulated(const ShadeArgs& a) {
    for_each_block_emulated(shade_film_block_memory(a), [&](const HostBlock& block) {
        shade_film_block<false>(block, a, TensorEnds{a}, FloatProducts{a.weights});
    });
}

void shade_film_gradient_emulated(const ShadeArgs& a) {
    for_each_block_emulated(shade_film_block_memory(a), [&](const HostBlock& block) {
        shade_film_block<true>(block, a, TensorEnds{a}, FloatProducts{a.weights});
    });
}

}  // namespace xs
