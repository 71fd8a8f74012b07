// shade_relu: surface features and view direction to colour, by a small ReLU network.
//
//   h1 = relu(W1 f + b1); h2 = relu(W2 [h1, SH(direction)] + b2); light = sigmoid(W3 h2 + b3)
//   rgb = srgb(A light + b) with [A | b] the photo's exposure row as [3, 4]
//
// Spherical harmonics in the view direction enter the second layer as in instant-ngp (Mueller et
// al. 2022). Weights are one flat vector: W1 [hidden, features], b1, W2 [hidden, hidden + sh], b2,
// W3 [3, hidden], b3, each row major.
#pragma once

#include "isa.h"
#include "shade/args.h"
#include "shade/chunk.h"
#include "shade/math.h"

namespace xs {

// The weights as the chunk functions read them, in one buffer made by shade_relu_pack: rows padded
// to 16 floats, and each matrix also transposed, so that every product's vectors are contiguous.
struct ShadeReluNet {
    int32_t width, hidden, sh_degree;
    const float* packed;

    int32_t padded() const { return padded_to_16(width); }
    int32_t second() const { return hidden + kMaxHarmonics; }  // inputs of layer two

    // Gradients have the layout of this first part.
    int64_t w1() const { return 0; }  // [hidden, padded]
    int64_t b1() const { return w1() + static_cast<int64_t>(hidden) * padded(); }
    int64_t w2() const { return b1() + hidden; }  // [hidden, second]
    int64_t b2() const { return w2() + static_cast<int64_t>(hidden) * second(); }
    int64_t w3() const { return b2() + hidden; }      // [3, hidden]
    int64_t b3() const { return w3() + 3 * hidden; }  // [3], padded
    int64_t gradient_size() const { return b3() + 16; }
    int64_t w1_transposed() const { return gradient_size(); }  // [padded, hidden]
    int64_t w2_transposed() const {                            // [second, hidden]
        return w1_transposed() + static_cast<int64_t>(padded()) * hidden;
    }
    int64_t packed_size() const {
        return w2_transposed() + static_cast<int64_t>(second()) * hidden;
    }
    // Floats of working memory for one chunk, 64-byte aligned.
    int64_t scratch_size() const;
};

// Fills `packed` (net.packed_size() floats) from the flat weights.
void shade_relu_pack(const ShadeReluNet& net, const float* weights, float* packed);
// Adds a gradient in the padded layout to one in the flat layout.
void shade_relu_add_gradient(const ShadeReluNet& net, const float* padded, float* flat);

// One chunk: colours only; and colours with all gradients, activations never leaving the cache.
// `gradient` (net.gradient_size() floats) is added to.
XS_DECLARE_SIMD(void shade_relu_chunk_forward(const ShadeReluNet& net, const ShadeChunk& chunk,
                                              float* scratch))
XS_DECLARE_SIMD(void shade_relu_chunk_gradient(const ShadeReluNet& net, const ShadeChunk& chunk,
                                               float* scratch, float* gradient))

void shade_relu_cpu(const ShadeArgs& args);
void shade_relu_gradient_cpu(const ShadeArgs& args);
void shade_relu_cuda(const ShadeArgs& args, void* stream);
void shade_relu_gradient_cuda(const ShadeArgs& args, void* stream);
int64_t shade_relu_scratch(const ShadeArgs& args);
int64_t shade_relu_scratch_cuda(const ShadeArgs& args);
int64_t shade_relu_gradient_scratch_cuda(const ShadeArgs& args);
// The device kernels' logic run on the host, block after block.
void shade_relu_emulated(const ShadeArgs& args);
void shade_relu_gradient_emulated(const ShadeArgs& args);

}  // namespace xs
