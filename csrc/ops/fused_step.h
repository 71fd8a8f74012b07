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

#include "ops/adam.h"
#include "ops/encode.h"

namespace xs {

struct FusedStepArgs {
    const float* vertices;        // [vertices, 3] local frame
    const int32_t* faces;         // [faces, 3] in file order
    const double* cameras;        // [cameras, 32] packed
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

// Rows of a bucket: their sums stay in the first-level cache, and the rows themselves in the second
// between the touch that fetches them and their update.
constexpr int32_t kBucketBits = 12;
constexpr uint32_t kBucketRows = 1u << kBucketBits;
// Bits of a touch's key that name its point, counted from the first of its block's era.
constexpr int32_t kPointBits = 32 - kBucketBits;
constexpr int64_t kEraPoints = int64_t{1} << kPointBits;
// Of a block; with its head not a power of two in all: blocks that begin at the same place of a
// page would share few sets of the cache.
constexpr int32_t kBlockTouches = 259;

// A point's touch of two rows of a bucket: the two corners of an edge along x, which differ in the
// low bits of their rows only, hashed or not.
struct Touch {
    uint32_t key;   // first row in the bucket above kPointBits of point in the era
    uint32_t pair;  // second row in the bucket
    float weight[2];
};

// Touches of one bucket, in the order of points.
struct TouchBlock {
    int64_t era;   // point from which keys count
    int32_t next;  // block of the same bucket, -1: none
    int32_t count;
    Touch touch[kBlockTouches];
};

// One thread's working memory for a level. Sums are there twice: for the bucket being summed and
// for the one before, whose rows are on their way from memory.
struct TouchSpace {
    float* sum;         // [2, kBucketRows, width], zero between calls
    uint8_t* seen;      // [2, kBucketRows], zero between calls
    uint16_t* list;     // [2, kBucketRows + 1]
    TouchBlock* block;  // enough for all touches of all points
    int32_t* first;     // [buckets] first block; -1: none
    int32_t* last;      // [buckets]
    Touch** next;       // [buckets] where the next touch goes
    Touch** end;        // [buckets] end of the last block
};

// What a level's rows need: the gradient of the level's features, and Adam's numbers.
struct TableUpdate {
    const EncodeArgs* points;  // position, footprint and how they are read
    const float* grad;         // [points, width]
    const AdamArgs* adam;      // param, first, second, steps of the whole table
    AdamCorrections corrections;
};

// Takes rows [row_begin, row_end) of a level, counted within it, one step further.
XS_DECLARE_SIMD(void fused_step_rows(const TableUpdate& update, const EncodeLevel& level,
                                     uint32_t row_begin, uint32_t row_end, const TouchSpace& space))

void fused_step_cpu(const FusedStepArgs& args);
void fused_step_cuda(const FusedStepArgs& args, void* stream);
int64_t fused_step_scratch(const FusedStepArgs& args);
int64_t fused_step_scratch_cuda(const FusedStepArgs& args);
// The device kernels' logic run on the host (ops/fused_step_block.h).
void fused_step_emulated(const FusedStepArgs& args);

}  // namespace xs
