// shade_film: surface features and view direction to colour, by the published FiLM-SIREN shader.
//
//   s1 = sin(f1 (W1 x + b1) + p1); s2 = sin(f2 (W2 s1 + b2) + p2)     (f, p: the light's rows)
//   d = exp(log scale) s2 + shift                                     (the photo's exposure row)
//   [g1, g2, q1, q2] = M2 leaky(M1 d + c1) + c2                       (g: times 15 plus 30)
//   y1 = sin(g1 (D1 v + e1) + q1); y2 = sin(g2 (D2 y1 + e2) + q2)     (v: view direction)
//   rgb = 1.002 clip(srgb(sigmoid(W3 y2 + b3))) - 0.001
//
// The networks on the light and exposure codes do not depend on the ray; their results come in as
// `light` [4, hidden] and `exposure` [photos, 2 hidden]. FiLM: Chan et al. 2021 (pi-GAN).
// Weights are one flat vector: W1 [hidden, features], b1, W2 [hidden, hidden], b2, M1 [hidden,
// hidden], c1, M2 [4 hidden, hidden], c2, D1 [hidden, 3], e1, D2 [hidden, hidden], e2,
// W3 [3, hidden], b3, each row major.
#pragma once

#include "isa.h"
#include "shade/args.h"
#include "shade/chunk.h"
#include "shade/math.h"

namespace xs {

// One matrix with its bias. M2's four parts are layers of their own: a panel of weights that is
// contiguous stays in the first-level cache, one cut out of wider rows maps to few of its sets.
struct FilmLayer {
    int32_t outputs, inputs;  // as in the flat vector
    int32_t stride;           // of a packed row: inputs to the next multiple of 16
    int64_t flat_weight, flat_bias;
    int64_t weight;      // [outputs, stride]
    int64_t bias;        // [outputs], padded to 16
    int64_t transposed;  // [stride, outputs]
};

// The weights as the chunk functions read them: the light's frequencies and phases folded into the
// feature layers and the constants 15 and 30 into M2, rows padded, each matrix also transposed.
struct ShadeFilmNet {
    static constexpr int kLayers = 10;
    enum {
        kFeature1,
        kFeature2,
        kMapping1,
        kFrequency1,  // the four parts of M2
        kFrequency2,
        kPhase1,
        kPhase2,
        kDirection1,
        kDirection2,
        kColour
    };

    int32_t width, hidden;
    FilmLayer layers[kLayers];
    int64_t gradient_size;  // gradients have the layout of the untransposed part
    int64_t packed_size;
    int64_t scratch_size;  // floats of working memory for one chunk, 64-byte aligned
    const float* packed;

    ShadeFilmNet(int32_t features, int32_t hidden_width);
};

// Fills `packed` (net.packed_size floats) from the flat weights and the light's rows.
void shade_film_pack(const ShadeFilmNet& net, const float* weights, const float* light,
                     float* packed);
// Adds a gradient in the packed layout to those of the flat weights and the light's rows.
void shade_film_add_gradient(const ShadeFilmNet& net, const float* weights, const float* light,
                             const float* gradient, float* grad_weights, float* grad_light);

// One chunk: colours only; and colours with all gradients, activations never leaving the cache.
// `gradient` (net.gradient_size floats) is added to.
XS_DECLARE_SIMD(void shade_film_chunk_forward(const ShadeFilmNet& net, const ShadeChunk& chunk,
                                              float* scratch))
XS_DECLARE_SIMD(void shade_film_chunk_gradient(const ShadeFilmNet& net, const ShadeChunk& chunk,
                                               float* scratch, float* gradient))

void shade_film_cpu(const ShadeArgs& args);
void shade_film_gradient_cpu(const ShadeArgs& args);
void shade_film_cuda(const ShadeArgs& args, void* stream);
void shade_film_gradient_cuda(const ShadeArgs& args, void* stream);
int64_t shade_film_scratch(const ShadeArgs& args);
int64_t shade_film_scratch_cuda(const ShadeArgs& args);
// The device kernels' logic run on the host, block after block.
void shade_film_emulated(const ShadeArgs& args);
void shade_film_gradient_emulated(const ShadeArgs& args);

}  // namespace xs
