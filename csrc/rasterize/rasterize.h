// rasterize: the nearest face through each pixel's centre ray.
//
// Homogeneous edge functions (Olano & Greer 1997) in float64 without fused multiply-add, so that an
// edge gives exactly opposite values to the two faces that share it: no hole, no double owner, and
// no clipping at the camera plane. Predicates here are shared by every body and the reference.
#pragma once

#include "camera/camera.h"
#include "fields.h"

#if !defined(XS_NO_CONTRACTION) && !defined(__CUDACC__)
#error \
    "compile with -ffp-contract=off: put the file's folder into XS_EXACT_FOLDERS of CMakeLists.txt"
#endif

#if !defined(__CUDACC__)
// Vectors are passed between functions of one file only, so how they are passed (in memory without
// AVX) concerns nobody else.
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace xs {

struct RasterizeArgs {
    const float* points;           // [points, 3] local frame, vertices of each cluster
    const uint16_t* corners;       // [faces, 3] in cluster order, rows of the cluster's points
    const int32_t* face_ids;       // [faces] id of each row
    const int32_t* cluster_start;  // [clusters + 1] first face row of each cluster
    const int32_t* point_start;    // [clusters + 1] first point of each cluster
    const float* cluster_box;      // [clusters, 6] low, high corner
    int32_t clusters;
    const Camera* camera;
    int32_t left, top;          // of the rectangle, in pixels
    int32_t width, height;      // of the rectangle
    double offset_x, offset_y;  // sample position inside a pixel, (0.5, 0.5) is the centre
    int32_t* face_id;           // [height, width]
    float* depth;  // [height, width] camera z (distance for wide lenses), +inf at a miss; null: not
                   // wanted
    uint8_t* scratch;  // rasterize_scratch bytes, 16-byte aligned; device body only

    XS_FIELDS(points, corners, face_ids, cluster_start, point_start, cluster_box, clusters, camera,
              left, top, width, height, offset_x, offset_y, face_id, depth, scratch)
};

// Camera-space corners of a face of a cluster.
XS_HD inline void raster_corners(const RasterizeArgs& a, int32_t cluster, int64_t row,
                                 Vec3d* corner) {
    for (int i = 0; i < 3; ++i) {
        const int64_t point = int64_t{a.point_start[cluster]} + a.corners[3 * row + i];
        corner[i] = camera_from_local(*a.camera, a.points + 3 * point);
    }
}

// One face in camera space, ready for its pixels.
struct RasterFace {
    Vec3d n0, n1, n2;  // edge normals, turned so that inside is positive
    double det;        // of the corners, positive
    bool valid;
};

XS_HD inline RasterFace raster_face(const Vec3d& a, const Vec3d& b, const Vec3d& c) {
    RasterFace f;
    f.n0 = cross(b, c);
    f.n1 = cross(c, a);
    f.n2 = cross(a, b);
    f.det = dot(a, f.n0);
    f.valid = f.det != 0.0 && f.det - f.det == 0.0;
    if (f.det < 0.0) {
        f.n0 = {-f.n0.x, -f.n0.y, -f.n0.z};
        f.n1 = {-f.n1.x, -f.n1.y, -f.n1.z};
        f.n2 = {-f.n2.x, -f.n2.y, -f.n2.z};
        f.det = -f.det;
    }
    return f;
}

// Top-left rule: a pixel exactly on an edge belongs to the face that lies right of it or below it.
XS_HD inline bool edge_inside(double e, const Vec3d& n) {
    return e > 0.0 || (e == 0.0 && (n.x > 0.0 || (n.x == 0.0 && n.y > 0.0)));
}

// A hit beyond this depth is not a finite float32.
constexpr double kRasterDeepest = 0x1.ffffffp127;

// The least multiple of a camera's rays that counts.
XS_HD inline double raster_near(const Camera& camera) {
    return camera.near > 0.0 ? camera.near : 0.0;
}

// Whether multiples of a ray count as hits: the near plane is decided here and nowhere else. For
// numbers, and for vectors of them.
template <class T>
XS_HD XS_ALWAYS_INLINE static auto raster_counts(const T& t, double near) {
    return (t > near) & (t < kRasterDeepest);
}

// Multiple of the ray that reaches the face (camera z for rays with z = 1); infinity where it
// misses, or meets the face before `near` (raster_near).
XS_HD inline double raster_hit(const RasterFace& f, const Vec3d& ray, double near) {
    const double e0 = dot(ray, f.n0);
    const double e1 = dot(ray, f.n1);
    const double e2 = dot(ray, f.n2);
    if (!edge_inside(e0, f.n0) || !edge_inside(e1, f.n1) || !edge_inside(e2, f.n2)) {
        return INFINITY;
    }
    const double t = f.det / (e0 + e1 + e2);
    return raster_counts(t, near) ? t : INFINITY;
}

// The bodies draw into a word a pixel that holds depth bits above the face id, so that the lesser
// word is the nearer face, and at equal depth the lower id, whatever the order of drawing.
constexpr uint64_t kRasterMiss = 0x7f800000ffffffffull;  // +inf, -1

// Draws depth t into a word; infinity changes nothing.
static inline void raster_store(uint64_t* word, double t, int32_t id) {
    const float depth = static_cast<float>(t);
    uint32_t bits;
    std::memcpy(&bits, &depth, sizeof bits);
    const uint64_t mine = static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(id);
    uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (
        mine < old && bits < 0x7f800000u &&
        !__atomic_compare_exchange_n(word, &old, mine, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

// A face too large to be drawn where it was found, with its pixels' box (device only).
struct RasterLarge {
    Vec3d corner[3];
    int32_t id;
    int32_t x0, y0, x1, y1;  // first and last pixel of the rectangle
};

// A band of the rectangle's rows, which one thread draws.
struct RasterScreen {
    const double* column_x;  // [width] a ray's x; null where it depends on the row too (skew)
    const double* row_y;     // [height] a ray's y
    uint64_t* words;         // [height, width]
    int32_t top, bottom;     // first and one past the last row of the band
};

void rasterize_cpu(const RasterizeArgs& args);
void rasterize_cuda(const RasterizeArgs& args, void* stream);
int64_t rasterize_scratch(const RasterizeArgs& args);
int64_t rasterize_scratch_cuda(const RasterizeArgs& args);
// The device kernels' logic run on the host, item after item.
void rasterize_emulated(const RasterizeArgs& args);

// Draws what a camera with a bending lens sees (rasterize/rays.h).
void rasterize_rays_cpu(const RasterizeArgs& args, uint64_t* words);

}  // namespace xs
