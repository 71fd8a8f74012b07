// Adam for the rows of a hash grid that points touch, without a gradient table (CPU only).
//
// The touches of a level's rows are sorted into buckets that fit the cache, summed there in the
// order of the points, and every touched row takes its step once.
#pragma once

#include "adam/adam.h"
#include "encode/encode.h"

namespace xs {

// Rows of a bucket: their sums stay in the first-level cache, and the rows themselves in the second
// between the touch that fetches them and their update.
constexpr int32_t kBucketBits = 12;
constexpr uint32_t kBucketRows = 1u << kBucketBits;
// Bits of a touch's key that name its point, counted from the first of its block's epoch.
constexpr int32_t kPointBits = 32 - kBucketBits;
constexpr int64_t kEpochPoints = int64_t{1} << kPointBits;
// Touches of a block; with its head not a power of two: blocks that begin at the same place of a
// page would share few sets of the cache.
constexpr int32_t kBlockTouches = 259;

// A point's touch of two rows of a bucket: the two corners of an edge along x, which differ in the
// low bits of their rows only, hashed or not.
struct Touch {
    uint32_t key;   // first row in the bucket above kPointBits of point in the epoch
    uint32_t pair;  // second row in the bucket
    float weight[2];
};

// Touches of one bucket, in the order of points.
struct TouchBlock {
    int64_t epoch;  // point from which keys count
    int32_t next;   // block of the same bucket, -1: none
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

// Inputs of a level's rows: the gradient of the level's features, and Adam's numbers.
struct TableUpdate {
    const EncodeArgs* points;  // position, footprint and how they are read
    const float* grad;         // [points, width]
    const AdamArgs* adam;      // param, first, second, steps of the whole table
    AdamCorrections corrections;
};

// Takes rows [row_begin, row_end) of a level, counted within it, one step further.
XS_DECLARE_SIMD(void adam_touched_rows(const TableUpdate& update, const EncodeLevel& level,
                                       uint32_t row_begin, uint32_t row_end,
                                       const TouchSpace& space))

}  // namespace xs
