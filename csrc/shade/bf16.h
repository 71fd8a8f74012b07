// Both shaders forwards, for pictures, with products of bfloat16 pairs: twice the multiply-adds of
// float32 an instruction. Weights and layer inputs are rounded to 8 bits of mantissa; sums, biases,
// sines, the direction layer of shade_film and the last layer are float32.
//
// For processors with that instruction only (Isa::avx512bf16); CPU_ONLY like shade/pieces.h.
#pragma once

#include "shade/film.h"
#include "shade/pieces.h"
#include "shade/relu.h"

namespace xs {

constexpr int32_t kBf16Hidden = 64;

// Whether there is a body for these sizes.
constexpr bool shade_bf16_fits(int32_t width, int32_t hidden) {
    return width % 16 == 0 && hidden == kBf16Hidden;
}

// Layers of either shader: pairs of inputs beside each other, [inputs / 2, outputs, 2], as bits.
struct ShadeBf16Net {
    enum {
        kFirst,
        kSecond,
        kMapping,
        kFrequency1,
        kPhase1,
        kFrequency2,
        kPhase2,
        kDirection,
        kLayers
    };
    int32_t width;
    int32_t sh_degree;
    const uint16_t* weights[kLayers];
    const float* bias[kLayers];
    const float* direction_weights;  // [3, hidden]
    const float* direction_bias;     // [hidden]
    const float* colour_weights;     // [3, hidden]
    const float* colour_bias;        // [3]
};

#if XSCALE_HAS_X86
namespace avx512bf16 {

// Fill `buffer` and return the net that points into it (and into `net.packed`, for float32 parts).
// The exposure's row (shade_film), constant in a picture, is folded into the next layer.
ShadeBf16Net shade_relu_bf16_pack(const ShadeReluNet& net, ShadeBuffer& buffer);
ShadeBf16Net shade_film_bf16_pack(const ShadeFilmNet& net, const float* exposure,
                                  ShadeBuffer& buffer);

// One chunk's colours, as the chunk functions of the ops; scratch as large as they want it.
void shade_relu_bf16(const ShadeBf16Net& net, const ShadeChunk& chunk, float* scratch);
void shade_film_bf16(const ShadeBf16Net& net, const ShadeChunk& chunk, float* scratch);
int64_t shade_bf16_scratch_size(int32_t width);

}  // namespace avx512bf16
#endif

}  // namespace xs
