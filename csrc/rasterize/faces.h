// rasterize's pass over the faces of a pinhole picture: a block takes clusters in view, two at a
// time, moves and projects the points of each once, and draws its faces from them.
#pragma once

#include "block.h"
#include "rasterize/items.h"

namespace xs {

constexpr int kFacesTogether = 2;  // clusters
constexpr int kFacesThreads = kBlockThreads / kFacesTogether;
constexpr int kFacesPoints = 256;  // of a cluster; one with more moves each face's corners itself

// A cluster's point: in camera space, and where it is seen, in samples, as RasterBounds has it.
struct FacesPoint {
    Vec3d at;
    double u, v;  // NaN: not in front of the camera
    float near_u, near_v;
};

// Slack of the test in float: rounding of a coordinate below 2^16, and raster_box's own.
constexpr float kFacesSlack = 0.01f;
constexpr float kFacesFar = 65536.0f;

// Floats of a block's memory.
inline int64_t faces_memory() {
    return kFacesTogether * kFacesPoints * int64_t{sizeof(FacesPoint)} / int64_t{sizeof(float)};
}

XS_HD inline FacesPoint faces_point(const RasterizeArgs& a, int64_t point) {
    FacesPoint p;
    p.at = camera_from_local(*a.camera, a.points + 3 * point);
    p.u = p.v = NAN;
    if (raster_in_front(p.at)) {
        RasterBounds bounds;
        bounds.add(a, p.at.x, p.at.y, p.at.z);
        p.u = bounds.u0;
        p.v = bounds.v0;
    }
    p.near_u = static_cast<float>(p.u);
    p.near_v = static_cast<float>(p.v);
    return p;
}

XS_HD inline float faces_least(float a, float b, float c) {
    return fminf(a, fminf(b, c));
}
XS_HD inline float faces_most(float a, float b, float c) {
    return fmaxf(a, fmaxf(b, c));
}

// Whether three numbers are such that no sample lies between them for certain.
XS_HD inline bool faces_between(float a, float b, float c) {
    const float low = faces_least(a, b, c), high = faces_most(a, b, c);
    return low > -kFacesFar && high < kFacesFar &&
           ceilf(low - kFacesSlack) > floorf(high + kFacesSlack);
}

// The box of a face whose corners are points of the block's memory; the same as raster_box gives.
XS_HD inline RasterBox faces_box(const RasterizeArgs& a, const FacesPoint& p, const FacesPoint& q,
                                 const FacesPoint& r) {
    if (p.u == p.u && q.u == q.u && r.u == r.u) {
        if (faces_between(p.near_u, q.near_u, r.near_u) ||
            faces_between(p.near_v, q.near_v, r.near_v)) {
            return {0, 0, -1, -1};
        }
        RasterBounds bounds;
        bounds.u0 = raster_least(raster_least(p.u, q.u), r.u);
        bounds.u1 = raster_most(raster_most(p.u, q.u), r.u);
        bounds.v0 = raster_least(raster_least(p.v, q.v), r.v);
        bounds.v1 = raster_most(raster_most(p.v, q.v), r.v);
        return raster_box_of(a, 0, a.height, bounds, 1e-4);
    }
    const Vec3d corner[3] = {p.at, q.at, r.at};
    return raster_box(a, 0, a.height, corner);
}

struct RasterFacesKernel {
    RasterItems w;
    static constexpr int kResident = 3;

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        const RasterizeArgs& a = w.a;
        FacesPoint* memory = reinterpret_cast<FacesPoint*>(block.memory);
        const int32_t seen = w.found[1];
        for (int64_t first = int64_t{block.index} * kFacesTogether; first < seen;
             first += int64_t{block.count} * kFacesTogether) {
            block.phase([&](int thread) {
                const int group = thread / kFacesThreads;
                if (first + group >= seen) {
                    return;
                }
                const int32_t cluster = w.clusters[first + group];
                const int32_t begin = a.point_start[cluster];
                const int32_t count = a.point_start[cluster + 1] - begin;
                for (int32_t i = thread % kFacesThreads; count <= kFacesPoints && i < count;
                     i += kFacesThreads) {
                    memory[group * kFacesPoints + i] = faces_point(a, begin + i);
                }
            });
            block.phase([&](int thread) {
                const int group = thread / kFacesThreads;
                if (first + group < seen) {
                    draw(memory + group * kFacesPoints, w.clusters[first + group],
                         thread % kFacesThreads);
                }
            });
        }
    }

  private:
    // A thread's share of the faces of a cluster.
    XS_HD void draw(const FacesPoint* points, int32_t cluster, int thread) const {
        const RasterizeArgs& a = w.a;
        const bool kept = a.point_start[cluster + 1] - a.point_start[cluster] <= kFacesPoints;
        for (int64_t row = a.cluster_start[cluster] + thread; row < a.cluster_start[cluster + 1];
             row += kFacesThreads) {
            Vec3d corner[3];
            RasterBox box;
            if (kept) {
                const FacesPoint& p = points[a.corners[3 * row]];
                const FacesPoint& q = points[a.corners[3 * row + 1]];
                const FacesPoint& r = points[a.corners[3 * row + 2]];
                box = faces_box(a, p, q, r);
                if (box.empty()) {
                    continue;
                }
                corner[0] = p.at;
                corner[1] = q.at;
                corner[2] = r.at;
            } else {
                raster_corners(a, cluster, row, corner);
                box = raster_box(a, 0, a.height, corner);
            }
            item_face(w, corner, a.face_ids[row], box);
        }
    }
};

}  // namespace xs
