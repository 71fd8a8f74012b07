// fused_step: one training step of the table in one call: interpolate, encode, shade, loss,
// backward and lazy Adam.
//
// First every piece of rays goes from face id to the gradient of its features, in cache; then every
// level sorts the touches of its rows into buckets that fit the cache, adds them up there and lets
// Adam move each touched row once. There is no gradient table, and of a row nothing is written but
// its new values. Sums are taken in the order of the chain of single ops (interpolate, encode,
// shade_train, encode_backward, adam) by the same code, whatever the
// number of threads.
#pragma once

#include "adam/adam.h"
#include "encode/encode.h"
#include "interpolate/interpolate.h"
#include "shade/args.h"

namespace xs {

struct FusedStepArgs {
    PointsArgs points;      // one a ray; camera_index is also the row of exposure
    const float* turn;      // [rays, 3] added to the directions, see step_turn; null: none
    const uint8_t* target;  // [rays, 3]
    float target_range;     // what a target of white is
    const float* centre;    // [3] position in the unit cube = (position - centre) * unit + 0.5
    const float* unit;      // [3]
    float footprint_unit;   // factor of footprints

    GridArgs grid;    // footprint_scale 0: no level fades
    AdamArgs adam;    // of the grid's table: param to steps, their strides, rate, betas, epsilon
    ShadeArgs shade;  // weights, light (null: the ReLU shader), exposure, their gradients, sizes,
                      // photos and loss; gradients are those of its mean over the rays

    float* gradient;          // [rows, width] zeros, and zeros again afterwards; device body only
    int64_t* gradient_fixed;  // the same in fixed-point numbers (block.h): deterministic; or null
    uint8_t* touched;         // [rows / 8] zeros, and zeros again afterwards; device body only
    double* sums;  // [2] out: sum of the rays' losses, sum of squared errors over rays and channels
    double* seconds;  // [4] out, CPU body only: spent on interpolate, encode, shade with its
                      // backward, the table
    int64_t rays;

    double* control;  // a StepControl, written too; null: none
    // Device body only: products of the shader take half floats, their gradients control's factor.
    bool mixed;
    Half* gradient_half;  // in place of gradient: half floats, which only mixed steps fill
    uint8_t* scratch;     // fused_step_scratch bytes, 16-byte aligned

    XS_FIELDS(points, turn, target, target_range, centre, unit, footprint_unit, grid, adam, shade,
              gradient, gradient_fixed, touched, sums, seconds, rays, control, mixed, gradient_half,
              scratch)
};

// Turns a unit direction: adds `turn` and makes the sum a unit vector again.
XS_HD inline void step_turn(const float* turn, float* direction) {
    const float x = direction[0] + turn[0];
    const float y = direction[1] + turn[1];
    const float z = direction[2] + turn[2];
    // In double precision: square roots of floats are not rounded alike everywhere.
    const auto scale = static_cast<float>(1.0 / sqrt(static_cast<double>(x * x + y * y + z * z)));
    direction[0] = x * scale;
    direction[1] = y * scale;
    direction[2] = z * scale;
}

void fused_step_cpu(const FusedStepArgs& args);
void fused_step_cuda(const FusedStepArgs& args, void* stream);
int64_t fused_step_scratch(const FusedStepArgs& args);
int64_t fused_step_scratch_cuda(const FusedStepArgs& args);
// The device kernels' logic run on the host (fused/step_block.h).
void fused_step_emulated(const FusedStepArgs& args);

}  // namespace xs
