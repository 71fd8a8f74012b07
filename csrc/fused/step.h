// fused_step: one training step of the table in one call: interpolate, encode, shade, loss,
// backward and lazy Adam.
//
// First every piece of rays goes from face id to the gradient of its features, in cache; then every
// level sorts the touches of its rows into buckets that fit the cache, adds them up there and lets
// Adam move each touched row once. There is no gradient table, and of a row nothing is written but
// its new values. Sums are taken in the order of the chain of single ops (interpolate, encode,
// shade_relu_train or shade_film_train, encode_backward, adam) by the same code, whatever the
// number of threads.
#pragma once

#include "adam/adam.h"
#include "camera/camera.h"
#include "encode/encode.h"

namespace xs {

struct FusedStepArgs {
    const float* vertices;        // [vertices, 3] local frame
    const int32_t* faces;         // [faces, 3] in file order
    const Camera* cameras;        // [cameras]
    const int32_t* camera_index;  // [rays]; also the row of exposure
    const float* pixel;           // [rays, 2]
    const int32_t* face_id;       // [rays]
    const uint8_t* target;        // [rays, 3]
    float target_range;           // what a target of white is
    const float* centre;   // [3] position in the unit cube = (position - centre) * unit + 0.5
    const float* unit;     // [3]
    float footprint_unit;  // factor of footprints

    float* table;  // [rows, width], read and updated
    float* first;  // Adam's means and each row's steps, as in AdamArgs
    float* second;
    uint16_t* steps;
    int64_t first_stride, second_stride, steps_stride;
    const int64_t* offsets;  // the grid, as in EncodeArgs
    const int64_t* resolutions;
    const float* scales;
    int32_t levels;
    int32_t width;
    bool smoothstep;
    float footprint_scale;  // 0: no level fades
    float learning_rate;
    float beta1, beta2, epsilon;

    const float* weights;   // of the shader, flat
    const float* light;     // [4, hidden] of the film shader; null: the ReLU shader
    const float* exposure;  // [cameras, 12 or 2 hidden]; null: none
    float* grad_weights;    // flat, added to
    float* grad_light;      // [4, hidden] added to; null: the ReLU shader
    float* grad_exposure;   // like exposure, added to; null: none
    int32_t hidden;
    int32_t sh_degree;
    int32_t photos;
    float* gradient;          // [rows, width] zeros, and zeros again afterwards; device body only
    int64_t* gradient_fixed;  // the same in fixed-point numbers (block.h): deterministic; or null
    uint8_t* touched;         // [rows / 8] zeros, and zeros again afterwards; device body only
    int32_t loss;             // a ShadeLoss; gradients are those of its mean over the rays

    double* sums;  // [2] out: sum of the rays' losses, sum of squared errors over rays and channels
    double* seconds;  // [4] out, CPU body only: spent on interpolate, encode, shade with its
                      // backward, the table
    int64_t rays;

    double* control;  // a StepControl, written too; null: none
    // Device body only: products of the shader take half floats, their gradients control's factor.
    bool mixed;
    Half* gradient_half;  // in place of gradient: half floats, which only mixed steps fill
    uint8_t* scratch;     // fused_step_scratch bytes, 16-byte aligned
};

void fused_step_cpu(const FusedStepArgs& args);
void fused_step_cuda(const FusedStepArgs& args, void* stream);
int64_t fused_step_scratch(const FusedStepArgs& args);
int64_t fused_step_scratch_cuda(const FusedStepArgs& args);
// The device kernels' logic run on the host (fused/step_block.h).
void fused_step_emulated(const FusedStepArgs& args);

}  // namespace xs
