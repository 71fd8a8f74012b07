// rasterize for cameras whose lens bends: each pixel's true ray against the same edge functions.
//
// Straight edges are curves in such a picture, so faces are not projected. A tree over the picture
// holds the least box around each block's rays instead, and a face is dropped from a block when
// one of its edge functions is negative in every corner of that box. Rounding is monotone, and the
// bound is summed in the order of dot(): it is never below the value at any ray of the block, so
// what is dropped has no pixel there, exactly.
#pragma once

#include "rasterize/rasterize.h"

namespace xs {

constexpr int kRayEdge = 4;                      // pixels along a leaf
constexpr int kRayPixels = kRayEdge * kRayEdge;  // pixels of a leaf
constexpr int kRayLevels = 30;

struct RayNode {
    double low[3], high[3];  // of the block's rays; low > high where no pixel has a ray
    Vec3d axis;              // all rays lie within an angle of it ...
    double cosine, sine;  // ... of this cosine and sine; cosine 0 where that is 90 degrees or more
    bool empty() const { return low[0] > high[0]; }
};

// The tree over one band of the picture. Level 0 are leaves; level l has blocks of 4 * 2^l pixels.
struct RayTree {
    int levels;
    int32_t columns[kRayLevels], rows[kRayLevels];
    RayNode* nodes[kRayLevels];  // [rows, columns]
    double* rays;                // [leaves, 3, 16]: x, y, z of each leaf's pixels; zero: no ray
    const RayNode& at(int level, int32_t x, int32_t y) const {
        return nodes[level][static_cast<int64_t>(y) * columns[level] + x];
    }
};

// A cluster and a block whose rays may meet it.
struct RayItem {
    int32_t cluster;
    int32_t level, x, y;
};

}  // namespace xs
