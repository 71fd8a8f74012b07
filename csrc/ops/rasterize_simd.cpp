#include <cmath>
#include <cstring>

#include "ops/rasterize.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int kBlock = 128;         // faces prepared at a time
constexpr int kLargePixels = 4096;  // larger boxes are shared out among threads

// Nothing from the standard library that may be inlined: its copies for one instruction set must
// not be picked by the linker for another.
inline double least(double a, double b) {
    return a < b ? a : b;
}
inline double most(double a, double b) {
    return a > b ? a : b;
}

// Bounds of projected points, in samples: sample k of a row lies at k.
struct Bounds {
    double u0 = 1e300, v0 = 1e300, u1 = -1e300, v1 = -1e300;
    void add(double u, double v) {
        u0 = least(u0, u);
        u1 = most(u1, u);
        v0 = least(v0, v);
        v1 = most(v1, v);
    }
};

struct Box {
    int32_t x0, y0, x1, y1;
};

// Samples that may lie within the bounds; the slack covers the rounding of the projection, which
// the exact test does not share.
inline Box sample_box(const RasterizeArgs& a, const Bounds& b, double slack) {
    const double width = a.width;
    const double height = a.height;
    return {static_cast<int32_t>(std::ceil(most(0.0, least(b.u0 - slack, width)))),
            static_cast<int32_t>(std::ceil(most(0.0, least(b.v0 - slack, height)))),
            static_cast<int32_t>(std::floor(most(-1.0, least(b.u1 + slack, width - 1.0)))) + 1,
            static_cast<int32_t>(std::floor(most(-1.0, least(b.v1 + slack, height - 1.0)))) + 1};
}

inline void draw_box(const RasterizeArgs& a, const RasterScreen& s, const Vec3d* corner, int32_t id,
                     const Box& box) {
    const RasterFace face = raster_face(corner[0], corner[1], corner[2]);
    if (!face.valid) {
        return;
    }
    const double near = a.camera[17];
    for (int32_t y = box.y0; y < box.y1; ++y) {
        uint64_t* words = s.words + static_cast<int64_t>(y) * a.width;
        for (int32_t x = box.x0; x < box.x1; ++x) {
            const Vec3d ray = s.column_x != nullptr ? Vec3d{s.column_x[x], s.row_y[y], 1.0}
                                                    : pinhole_ray(a.camera, a.left + x + a.offset_x,
                                                                  a.top + y + a.offset_y);
            const double z = raster_hit(face, ray);
            if (!(z > near) || z == 0.0) {
                continue;
            }
            raster_store(words + x, z, id);
        }
    }
}

// Box of a face that reaches behind the camera: of its part in front of the near plane.
Box clipped_box(const RasterizeArgs& a, const Vec3d* corner) {
    const double* c = a.camera;
    const double plane = c[17] * (1.0 - 1e-6);
    if (!(plane > 0.0)) {
        return {0, 0, a.width, a.height};
    }
    Bounds bounds;
    const auto add = [&](double x, double y, double z) {
        bounds.add((c[12] * x + c[16] * y) / z + c[14] - a.left - a.offset_x,
                   c[13] * y / z + c[15] - a.top - a.offset_y);
    };
    for (int i = 0; i < 3; ++i) {
        const Vec3d& p = corner[i];
        const Vec3d& q = corner[i == 2 ? 0 : i + 1];
        if (p.z >= plane) {
            add(p.x, p.y, p.z);
        }
        if ((p.z >= plane) != (q.z >= plane)) {
            const double t = (plane - p.z) / (q.z - p.z);
            add(p.x + t * (q.x - p.x), p.y + t * (q.y - p.y), plane);
        }
    }
    if (bounds.u0 > bounds.u1) {
        return {0, 0, 0, 0};
    }
    const double far = most(most(-bounds.u0, bounds.u1), most(-bounds.v0, bounds.v1));
    return sample_box(a, bounds, 1.0 + 1e-6 * most(far, 0.0));
}

// Camera-space corners and projections of up to kBlock faces, one array a coordinate.
struct Corners {
    double x[3 * kBlock], y[3 * kBlock], z[3 * kBlock];
    double u[3 * kBlock], v[3 * kBlock];
    Vec3d at(int i) const { return {x[i], y[i], z[i]}; }
};

inline void transform(const RasterizeArgs& a, int64_t first, int count, Corners& out) {
    const double* c = a.camera;
    const int32_t* index = a.faces + 3 * first;
    const double shift_u = c[14] - a.left - a.offset_x;
    const double shift_v = c[15] - a.top - a.offset_y;
    for (int i = 0; i < 3 * count; ++i) {
        const float* p = a.vertices + 3 * static_cast<int64_t>(index[i]);
        const Vec3d at = camera_from_local(c, p);
        out.x[i] = at.x;
        out.y[i] = at.y;
        out.z[i] = at.z;
    }
    for (int i = 0; i < 3 * count; ++i) {
        const double inverse = 1.0 / out.z[i];
        out.u[i] = (c[12] * out.x[i] + c[16] * out.y[i]) * inverse + shift_u;
        out.v[i] = c[13] * out.y[i] * inverse + shift_v;
    }
}

inline bool in_front(const Corners& c, int i) {
    return c.z[i] > 1e-9 * (std::fabs(c.x[i]) + std::fabs(c.y[i]));
}

}  // namespace

// Draws the faces of rows [begin, end); those too large go to `large` instead, which has room for
// all. Returns how many went there.
int32_t raster_faces(const RasterizeArgs& a, const RasterScreen& s, int64_t begin, int64_t end,
                     RasterLarge* large) {
    Corners corners;
    int32_t found = 0;
    for (int64_t first = begin; first < end; first += kBlock) {
        const int count = static_cast<int>(end - first < kBlock ? end - first : kBlock);
        transform(a, first, count, corners);
        for (int f = 0; f < count; ++f) {
            const int i = 3 * f;
            Box box;
            if (in_front(corners, i) && in_front(corners, i + 1) && in_front(corners, i + 2)) {
                const double* u = corners.u + i;
                const double* v = corners.v + i;
                const Bounds bounds{least(least(u[0], u[1]), u[2]), least(least(v[0], v[1]), v[2]),
                                    most(most(u[0], u[1]), u[2]), most(most(v[0], v[1]), v[2])};
                box = sample_box(a, bounds, 1e-4);
            } else {
                const Vec3d corner[3] = {corners.at(i), corners.at(i + 1), corners.at(i + 2)};
                box = clipped_box(a, corner);
            }
            if (box.x0 >= box.x1 || box.y0 >= box.y1) {
                continue;
            }
            const Vec3d corner[3] = {corners.at(i), corners.at(i + 1), corners.at(i + 2)};
            const int32_t id = a.face_ids[first + f];
            if (static_cast<int64_t>(box.x1 - box.x0) * (box.y1 - box.y0) > kLargePixels) {
                large[found++] = {
                    {corner[0], corner[1], corner[2]}, id, box.x0, box.y0, box.x1, box.y1};
            } else {
                draw_box(a, s, corner, id, box);
            }
        }
    }
    return found;
}

// Draws the rows [top, bottom) of a large face.
void raster_large(const RasterizeArgs& a, const RasterScreen& s, const RasterLarge& face,
                  int32_t top, int32_t bottom) {
    draw_box(a, s, face.corner, face.id, {face.x0, top, face.x1, bottom});
}

}  // namespace XS_ISA
}  // namespace xs
