// Where a cluster's box lies in a pinhole picture, and whether what was drawn hides it (CPU only).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "rasterize/box.h"

namespace xs {

constexpr int32_t kTile = 16;         // samples across a tile of the coarse depths
constexpr int64_t kTilesAsked = 16;   // a cluster over more of them is drawn without asking
constexpr int32_t kLongestWait = 31;  // questions that a tile answers from memory

// Facts about a cluster before it is drawn.
struct ClusterView {
    bool seen;
    uint32_t depth;  // bits of a float32 that no sample of it lies before; 0: unknown
    int32_t tile_left, tile_right, row_first, row_last;
};

// Least and greatest quotient of an interval and a positive one.
struct RasterSpan {
    double low, high;
    RasterSpan(double from, double to, double near, double far)
        : low(from < 0.0 ? from / near : from / far), high(to > 0.0 ? to / near : to / far) {}
};

// Looks at the box of a cluster, turned into camera space.
static inline ClusterView view_of_box(const RasterizeArgs& a, const RasterPlane* planes,
                                      const float* box) {
    const Camera& c = *a.camera;
    double at[3];
    double half[3];
    for (int i = 0; i < 3; ++i) {
        at[i] = c.translation[i];
        half[i] = 0.0;
        for (int k = 0; k < 3; ++k) {
            at[i] += c.rotation[3 * i + k] * (0.5 * (double{box[k]} + box[3 + k]));
            half[i] += std::fabs(c.rotation[3 * i + k]) * (0.5 * (double{box[3 + k]} - box[k]));
        }
        half[i] += 1e-12 * (half[i] + std::fabs(at[i]) + std::fabs(c.translation[i]));
    }
    const double near = at[2] - half[2];
    const double far = at[2] + half[2];
    const double aside = std::fabs(at[0]) + half[0] + std::fabs(at[1]) + half[1];
    if (!(near > 1e-6 * aside)) {
        const bool seen = !raster_excludes(planes, box);
        return {seen, 0, 0, a.width / kTile, 0, a.height - 1};
    }
    const RasterSpan x(at[0] - half[0], at[0] + half[0], near, far);
    const RasterSpan y(at[1] - half[1], at[1] + half[1], near, far);
    const double skew = c.skew;
    const double u0 = std::min(c.fx * x.low, c.fx * x.high) + std::min(skew * y.low, skew * y.high);
    const double u1 = std::max(c.fx * x.low, c.fx * x.high) + std::max(skew * y.low, skew * y.high);
    const double v0 = std::min(c.fy * y.low, c.fy * y.high);
    const double v1 = std::max(c.fy * y.low, c.fy * y.high);
    const double shift_u = c.cx - a.left - a.offset_x;
    const double shift_v = c.cy - a.top - a.offset_y;
    const double slack = 1.0 + 1e-6 * (std::fabs(shift_u) + std::fabs(shift_v) + u1 - u0 + v1 - v0);
    const double left = u0 + shift_u - slack, right = u1 + shift_u + slack;
    const double top = v0 + shift_v - slack, bottom = v1 + shift_v + slack;
    if (right < 0.0 || left > a.width - 1.0 || bottom < 0.0 || top > a.height - 1.0 ||
        far < c.near * (1.0 - 1e-9)) {
        return {false, 0, 0, 0, 0, -1};
    }
    // Samples of faces seen almost from their edge may come out nearer than their corners.
    const float nearest = static_cast<float>(near * (1.0 - 1e-4));
    ClusterView view{true, 0, 0, 0, 0, 0};
    std::memcpy(&view.depth, &nearest, sizeof nearest);
    view.tile_left = static_cast<int32_t>(std::max(left, 0.0)) / kTile;
    view.tile_right = static_cast<int32_t>(std::min(right, a.width - 1.0)) / kTile;
    view.row_first = static_cast<int32_t>(std::max(top, 0.0));
    view.row_last = static_cast<int32_t>(std::min(bottom, a.height - 1.0));
    return view;
}

// The farthest depth in each tile of the picture, or of longer ago: depths only come nearer. Tiles
// are looked at when they are asked about, and less often while they hide nothing. A band's tiles
// are asked about by one thread.
class CoarseDepth {
  public:
    CoarseDepth(const RasterizeArgs& a, const uint64_t* words)
        : width_(a.width), height_(a.height), columns_(a.width / kTile + 1), words_(words) {
        const size_t tiles = static_cast<size_t>(columns_) * (a.height / kTile + 1);
        farthest_.assign(tiles, UINT32_MAX);
        wait_.assign(tiles, 0);
        next_wait_.assign(tiles, 0);
    }

    // Whether rows [top, bottom) of a cluster lie behind what is drawn there.
    bool hides(const ClusterView& view, int32_t top, int32_t bottom) {
        const int32_t first = std::max(view.row_first, top) / kTile;
        const int32_t last = std::min(view.row_last, bottom - 1) / kTile;
        const int64_t across = view.tile_right - view.tile_left + 1;
        if (view.depth == 0 || across * (last - first + 1) > kTilesAsked) {
            return false;
        }
        for (int32_t row = first; row <= last; ++row) {
            for (int32_t column = view.tile_left; column <= view.tile_right; ++column) {
                if (!hides_in(view.depth, column, row)) {
                    return false;
                }
            }
        }
        return true;
    }

  private:
    bool hides_in(uint32_t depth, int32_t column, int32_t row) {
        const size_t tile = static_cast<size_t>(row) * columns_ + column;
        if (farthest_[tile] < depth) {
            return true;
        }
        if (wait_[tile] > 0) {
            --wait_[tile];
            return false;
        }
        farthest_[tile] = look(column, row);
        if (farthest_[tile] < depth) {
            next_wait_[tile] = 0;
            return true;
        }
        next_wait_[tile] = static_cast<uint8_t>(std::min(2 * next_wait_[tile] + 1, kLongestWait));
        wait_[tile] = next_wait_[tile];
        return false;
    }

    uint32_t look(int32_t column, int32_t row) const {
        const int32_t right = std::min((column + 1) * kTile, width_);
        const int32_t bottom = std::min((row + 1) * kTile, height_);
        uint64_t farthest = 0;
        for (int32_t y = row * kTile; y < bottom; ++y) {
            const uint64_t* line = words_ + static_cast<int64_t>(y) * width_;
            for (int32_t x = column * kTile; x < right; ++x) {
                farthest = std::max(farthest, line[x]);
            }
            if (farthest >= kRasterMiss) {
                break;
            }
        }
        return static_cast<uint32_t>(farthest >> 32);
    }

    int32_t width_, height_, columns_;
    const uint64_t* words_;
    std::vector<uint32_t> farthest_;
    std::vector<uint8_t> wait_, next_wait_;
};

// Sorts clusters from near to far, roughly, those of about one distance in their order.
static inline void sort_by_depth(const std::vector<ClusterView>& views,
                                 std::vector<int32_t>& clusters) {
    constexpr int kShift = 20;  // eight steps an octave
    std::vector<int32_t> start((UINT32_MAX >> kShift) + 2, 0);
    for (const int32_t k : clusters) {
        ++start[(views[k].depth >> kShift) + 1];
    }
    for (size_t i = 1; i < start.size(); ++i) {
        start[i] += start[i - 1];
    }
    std::vector<int32_t> sorted(clusters.size());
    for (const int32_t k : clusters) {
        sorted[start[views[k].depth >> kShift]++] = k;
    }
    clusters.swap(sorted);
}

}  // namespace xs
