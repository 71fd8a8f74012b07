// fused_frame: face ids of a picture's rectangle to 8-bit colours, in one pass over small tiles.
//
// For each covered pixel: the surface point (interpolate), its features (encode), its colour
// (shade_relu or shade_film), the byte. A tile's numbers stay in the second-level cache: nothing a
// pixel passes through on the way is written to memory. The single ops are the reference.
#pragma once

#include "encode/encode.h"
#include "interpolate/interpolate.h"
#include "shade/film.h"
#include "shade/relu.h"

namespace xs {

enum FrameShader : int32_t { kFrameRelu = 0, kFrameFilm = 1 };

struct FusedFrameArgs {
    const float* vertices;  // [vertices, 3] local frame
    const int32_t* faces;   // [faces, 3] in file order
    const Camera* camera;
    const int32_t* face_id;    // [height, width], -1: nothing is hit
    int64_t left, top;         // of the rectangle in the picture
    int64_t width, height;     // of the rectangle
    float offset_x, offset_y;  // sample position inside a pixel
    const float* box;          // [2, 3] centre, then 1 / extent: local position to unit cube
    float footprint_unit;      // world units to unit cube; 0: no level fades
    GridArgs grid;
    int32_t shader;    // a FrameShader
    ShadeArgs shade;   // weights, light, one row of exposure or null, sizes
    float range;       // colours are multiplied by it before they are clamped to [0, 1]
    uint8_t* rgb;      // [height, width, 3] out; 255 where nothing is hit
    uint8_t* scratch;  // fused_frame_scratch bytes, 16-byte aligned; device body only

    XS_FIELDS(vertices, faces, camera, face_id, left, top, width, height, offset_x, offset_y, box,
              footprint_unit, grid, shader, shade, range, rgb, scratch)
};

// A colour channel to its byte: clamped, rounded to nearest; NaN becomes 0.
XS_HD static inline uint8_t frame_byte(float colour, float range) {
    float value = colour * range;
    value = value > 0.0f ? value : 0.0f;
    value = value < 1.0f ? value : 1.0f;
    return static_cast<uint8_t>(value * 255.0f + 0.5f);
}

void fused_frame_cpu(const FusedFrameArgs& args);
void fused_frame_cuda(const FusedFrameArgs& args, void* stream);
int64_t fused_frame_scratch(const FusedFrameArgs& args);
int64_t fused_frame_scratch_cuda(const FusedFrameArgs& args);
// The device kernel's logic run on the host, tile after tile.
void fused_frame_emulated(const FusedFrameArgs& args);

}  // namespace xs
