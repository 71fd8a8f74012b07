// Faces whose boxes are known to their samples, many at a time: included by rasterize_simd.cpp.
#pragma once

#include <cmath>
#include <cstring>

#include "rasterize/box.h"

namespace xs {
namespace XS_ISA {

namespace {

typedef double Quad __attribute__((vector_size(32)));  // of the 2 x 2 samples, row by row
typedef int64_t QuadMask __attribute__((vector_size(32)));
typedef float EightFloats __attribute__((vector_size(32)));
typedef float Four __attribute__((vector_size(16)));
// Lanes of faces, as wide as the registers, since the compiler takes wider comparisons apart.
#ifdef __AVX512F__
typedef double Wide __attribute__((vector_size(64)));
typedef int64_t WideMask __attribute__((vector_size(64)));
typedef EightFloats WideFloats;
#else
typedef Quad Wide;
typedef QuadMask WideMask;
typedef Four WideFloats;
#endif
constexpr int kWide = sizeof(Wide) / sizeof(double);
typedef int32_t FourInts __attribute__((vector_size(16)));
typedef int32_t EightInts __attribute__((vector_size(32)));
typedef int64_t FourLongs __attribute__((vector_size(32)));

constexpr int kBatch = 128;  // faces worked on together, in the first cache

inline void draw_sample(const RasterizeArgs& a, const RasterScreen& s, const RasterFace& face,
                        int32_t id, int32_t x, int32_t y) {
    const Vec3d ray = s.column_x != nullptr
                          ? Vec3d{s.column_x[x], s.row_y[y], 1.0}
                          : pinhole_ray(*a.camera, a.left + x + a.offset_x, a.top + y + a.offset_y);
    const double z = raster_hit(face, ray, raster_near(*a.camera));
    raster_store(s.words + static_cast<int64_t>(y) * a.width + x, z, id);
}

// Faces ready for their samples, one array a number, so that loops over them become vectors.
struct Batch {
    int count = 0;
    int32_t row[kBatch];  // within the cluster
    RasterBox box[kBatch];
    alignas(64) float corner[3][3][kBatch];  // [corner][axis] in the local frame
    double normal[3][3][kBatch];             // [edge][axis], as in RasterFace
    double det[kBatch];                      // not a number: the face has no sample

    Vec3d at(const double (&array)[3][3][kBatch], int k, int i) const {
        return {array[k][0][i], array[k][1][i], array[k][2][i]};
    }
    RasterFace face(int i) const {
        return {at(normal, 0, i), at(normal, 1, i), at(normal, 2, i), det[i], true};
    }
};

// raster_face of all faces. Corners are moved into camera space here and not point by point: of a
// far cluster's points few belong to faces that come this far.
void prepare(const Camera& camera, Batch& b) {
    const Camera c = camera;
    auto& n = b.normal;
    const auto corner = [&](int k, int i) {
        const float p[3] = {b.corner[k][0][i], b.corner[k][1][i], b.corner[k][2][i]};
        return camera_from_local(c, p);
    };
    const int count = (b.count + 7) / 8 * 8;
    for (int i = 0; i < count; ++i) {
        const Vec3d p = corner(0, i);
        const Vec3d q = corner(1, i);
        const Vec3d r = corner(2, i);
        const Vec3d n0 = cross(q, r);
        const Vec3d n1 = cross(r, p);
        const Vec3d n2 = cross(p, q);
        const double det = p.x * n0.x + p.y * n0.y + p.z * n0.z;
        const double sign = det < 0.0 ? -1.0 : 1.0;
        const bool valid = (det != 0.0) & (det - det == 0.0);
        b.det[i] = valid ? det * sign : static_cast<double>(NAN);
        n[0][0][i] = n0.x * sign;
        n[0][1][i] = n0.y * sign;
        n[0][2][i] = n0.z * sign;
        n[1][0][i] = n1.x * sign;
        n[1][1][i] = n1.y * sign;
        n[1][2][i] = n1.z * sign;
        n[2][0][i] = n2.x * sign;
        n[2][1][i] = n2.y * sign;
        n[2][2][i] = n2.z * sign;
    }
}

// Keeps the nearer of two words, without a branch: whether a sample is hit cannot be foreseen. A
// depth that is not a number lies behind everything.
inline void keep_nearest(uint64_t* word, float depth, int32_t id) {
    uint32_t bits;
    std::memcpy(&bits, &depth, sizeof bits);
    const uint64_t mine = static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(id);
    const uint64_t old = *word;
    *word = mine < old ? mine : old;
}

inline Wide load_wide(const double* from) {
    Wide wide;
    std::memcpy(&wide, from, sizeof wide);
    return wide;
}

// raster_hit for faces whose boxes are one sample.
void draw_singles(const RasterizeArgs& a, const RasterScreen& s, const int32_t* ids,
                  const Batch& b) {
    alignas(64) double x[kBatch];
    alignas(64) double y[kBatch];
    alignas(32) float depth[kBatch];
    uint64_t* word[kBatch];
    for (int i = 0; i < b.count; ++i) {
        const RasterBox& box = b.box[i];
        word[i] = s.words + static_cast<int64_t>(box.y0) * a.width + box.x0;
        x[i] = s.column_x[box.x0];
        y[i] = s.row_y[box.y0];
    }
    for (int i = b.count; i % 8 != 0; ++i) {
        x[i] = y[i] = static_cast<double>(NAN);  // no sample, and on no edge
    }
    const double nearest = raster_near(*a.camera);
    const Wide none = Wide{} + static_cast<double>(NAN);
    WideMask edge{};
    for (int i = 0; i < b.count; i += kWide) {
        const Wide rx = load_wide(x + i);
        const Wide ry = load_wide(y + i);
        Wide e[3];
        for (int k = 0; k < 3; ++k) {
            // The product with the ray's z = 1 is exact and left out.
            e[k] = rx * load_wide(b.normal[k][0] + i) + ry * load_wide(b.normal[k][1] + i) +
                   load_wide(b.normal[k][2] + i);
            edge |= e[k] == 0.0;
        }
        const Wide t = load_wide(b.det + i) / (e[0] + e[1] + e[2]);
        const WideMask hit = (e[0] > 0.0) & (e[1] > 0.0) & (e[2] > 0.0) & raster_counts(t, nearest);
        const WideFloats narrow = __builtin_convertvector(hit ? t : none, WideFloats);
        std::memcpy(depth + i, &narrow, sizeof narrow);
    }
    for (int i = 0; i < b.count; ++i) {
        keep_nearest(word[i], depth[i], ids[b.row[i]]);
    }
    int64_t edges = 0;
    for (int k = 0; k < kWide; ++k) {
        edges |= edge[k];
    }
    for (int i = 0; edges != 0 && i < b.count; ++i) {
        draw_sample(a, s, b.face(i), ids[b.row[i]], b.box[i].x0, b.box[i].y0);
    }
}

// raster_hit for 2 x 2 samples at once, those outside the box left out.
__attribute__((always_inline)) inline void draw_quad(const RasterizeArgs& a, const RasterScreen& s,
                                                     const RasterFace& f, int32_t id,
                                                     double nearest, const RasterBox& box,
                                                     int32_t x, int32_t y) {
    const bool wide = x < box.x1;
    const bool high = y < box.y1;
    const double x0 = s.column_x[x];
    const double x1 = wide ? s.column_x[x + 1] : static_cast<double>(NAN);
    const double y0 = s.row_y[y];
    const double y1 = high ? s.row_y[y + 1] : static_cast<double>(NAN);
    const Quad rx = {x0, x1, x0, x1};
    const Quad ry = {y0, y0, y1, y1};
    const Quad e0 = rx * f.n0.x + ry * f.n0.y + f.n0.z;
    const Quad e1 = rx * f.n1.x + ry * f.n1.y + f.n1.z;
    const Quad e2 = rx * f.n2.x + ry * f.n2.y + f.n2.z;
    const Quad t = f.det / (e0 + e1 + e2);
    const QuadMask hit = (e0 > 0.0) & (e1 > 0.0) & (e2 > 0.0) & raster_counts(t, nearest);
    const Quad none = {NAN, NAN, NAN, NAN};
    const Four depth = __builtin_convertvector(hit ? t : none, Four);
    uint64_t* const p = s.words + static_cast<int64_t>(y) * a.width + x;
    uint64_t* const q = high ? p + a.width : p;
    const int right = wide ? 1 : 0;
    keep_nearest(p, depth[0], id);
    keep_nearest(p + right, depth[1], id);
    keep_nearest(q, depth[2], id);
    keep_nearest(q + right, depth[3], id);
    const QuadMask edge = (e0 == 0.0) | (e1 == 0.0) | (e2 == 0.0);
    if (edge[0] | edge[1] | edge[2] | edge[3]) {
        for (int k = 0; k < 4; ++k) {
            if (edge[k]) {
                draw_sample(a, s, f, id, x + k % 2, y + k / 2);
            }
        }
    }
}

void draw_boxes(const RasterizeArgs& a, const RasterScreen& s, const int32_t* ids, const Batch& b) {
    const double nearest = raster_near(*a.camera);
    for (int i = 0; i < b.count; ++i) {
        const RasterFace face = b.face(i);
        const RasterBox box = b.box[i];
        const int32_t id = ids[b.row[i]];
        if (s.column_x == nullptr) {
            for (int32_t y = box.y0; y <= box.y1; ++y) {
                for (int32_t x = box.x0; x <= box.x1; ++x) {
                    draw_sample(a, s, face, id, x, y);
                }
            }
            continue;
        }
        for (int32_t y = box.y0; y <= box.y1; y += 2) {
            for (int32_t x = box.x0; x <= box.x1; x += 2) {
                draw_quad(a, s, face, id, nearest, box, x, y);
            }
        }
    }
}

}  // namespace
}  // namespace XS_ISA
}  // namespace xs
