// Questions that every body of rasterize asks about a pinhole picture's boxes: may a cluster be
// seen, and which samples may a face have?
//
// Functions are static: sources compiled once per instruction set must not share them through the
// linker.
#pragma once

#include "rasterize/rasterize.h"

namespace xs {

constexpr int kRasterPlanes = 5;

// A half-space in the local frame: normal . p + distance >= 0 is inside.
struct RasterPlane {
    double normal[3];
    double distance;
};

// (x, y, z) . x_camera + offset >= 0, moved into the local frame.
XS_HD static inline RasterPlane raster_plane(const Camera& c, double x, double y, double z,
                                             double offset) {
    RasterPlane h;
    for (int i = 0; i < 3; ++i) {
        h.normal[i] = x * c.rotation[i] + y * c.rotation[3 + i] + z * c.rotation[6 + i];
    }
    h.distance = x * c.translation[0] + y * c.translation[1] + z * c.translation[2] + offset;
    return h;
}

// Near plane and the four sides of the rectangle's frustum, a pixel wider.
XS_HD static inline void raster_frustum(const RasterizeArgs& a, RasterPlane* planes) {
    const Camera& c = *a.camera;
    const double left = a.left - 1.0, right = a.left + a.width + 1.0;
    const double top = a.top - 1.0, bottom = a.top + a.height + 1.0;
    planes[0] = raster_plane(c, 0.0, 0.0, 1.0, -c.near);
    planes[1] = raster_plane(c, c.fx, c.skew, c.cx - left, 0.0);
    planes[2] = raster_plane(c, -c.fx, -c.skew, right - c.cx, 0.0);
    planes[3] = raster_plane(c, 0.0, c.fy, c.cy - top, 0.0);
    planes[4] = raster_plane(c, 0.0, -c.fy, bottom - c.cy, 0.0);
}

XS_HD static inline double raster_least(double a, double b) {
    return a < b ? a : b;
}
XS_HD static inline double raster_most(double a, double b) {
    return a > b ? a : b;
}

// Whether a box lies outside one of the planes for certain.
XS_HD static inline bool raster_excludes(const RasterPlane* planes, const float* box) {
    for (int k = 0; k < kRasterPlanes; ++k) {
        const RasterPlane& h = planes[k];
        double nearest = h.distance;
        double size = fabs(h.distance);
        for (int i = 0; i < 3; ++i) {
            const double low = box[i], high = box[3 + i];
            nearest += h.normal[i] * (h.normal[i] > 0.0 ? high : low);
            size += fabs(h.normal[i]) * raster_most(fabs(low), fabs(high));
        }
        if (nearest < -1e-9 * size) {
            return true;
        }
    }
    return false;
}

// First and last samples of a face in a rectangle.
struct RasterBox {
    int32_t x0, y0, x1, y1;
    XS_HD bool empty() const { return x0 > x1 || y0 > y1; }
    XS_HD int32_t columns() const { return x1 - x0 + 1; }
    XS_HD int64_t samples() const { return static_cast<int64_t>(columns()) * (y1 - y0 + 1); }
};

// Bounds of projected points, in samples: sample k of a row lies at k.
struct RasterBounds {
    double u0 = 1e300, v0 = 1e300, u1 = -1e300, v1 = -1e300;

    XS_HD void add(const RasterizeArgs& a, double x, double y, double z) {
        const Camera& c = *a.camera;
        const double u = (c.fx * x + c.skew * y) / z + c.cx - a.left - a.offset_x;
        const double v = c.fy * y / z + c.cy - a.top - a.offset_y;
        u0 = raster_least(u0, u);
        u1 = raster_most(u1, u);
        v0 = raster_least(v0, v);
        v1 = raster_most(v1, v);
    }
};

XS_HD static inline bool raster_in_front(const Vec3d& p) {
    return p.z > 1e-9 * (fabs(p.x) + fabs(p.y));
}

// Samples of rows [row_begin, row_end) that may lie within bounds; the slack covers the rounding of
// the projection, which the exact test does not share.
XS_HD static inline RasterBox raster_box_of(const RasterizeArgs& a, int32_t row_begin,
                                            int32_t row_end, const RasterBounds& b, double slack) {
    const double width = a.width, top = row_begin, bottom = row_end;
    return {static_cast<int32_t>(ceil(raster_most(0.0, raster_least(b.u0 - slack, width)))),
            static_cast<int32_t>(ceil(raster_most(top, raster_least(b.v0 - slack, bottom)))),
            static_cast<int32_t>(floor(raster_most(-1.0, raster_least(b.u1 + slack, width - 1.0)))),
            static_cast<int32_t>(
                floor(raster_most(top - 1.0, raster_least(b.v1 + slack, bottom - 1.0))))};
}

// Samples of rows [row_begin, row_end) that a face may have; where it reaches behind the camera, of
// its part in front of the near plane.
XS_HD static inline RasterBox raster_box(const RasterizeArgs& a, int32_t row_begin, int32_t row_end,
                                         const Vec3d* corner) {
    RasterBounds bounds;
    if (raster_in_front(corner[0]) && raster_in_front(corner[1]) && raster_in_front(corner[2])) {
        for (int i = 0; i < 3; ++i) {
            bounds.add(a, corner[i].x, corner[i].y, corner[i].z);
        }
        return raster_box_of(a, row_begin, row_end, bounds, 1e-4);
    }
    const double plane = a.camera->near * (1.0 - 1e-6);
    if (!(plane > 0.0)) {
        return {0, row_begin, a.width - 1, row_end - 1};
    }
    for (int i = 0; i < 3; ++i) {
        const Vec3d& p = corner[i];
        const Vec3d& q = corner[i == 2 ? 0 : i + 1];
        if (p.z >= plane) {
            bounds.add(a, p.x, p.y, p.z);
        }
        if ((p.z >= plane) != (q.z >= plane)) {
            const double t = (plane - p.z) / (q.z - p.z);
            bounds.add(a, p.x + t * (q.x - p.x), p.y + t * (q.y - p.y), plane);
        }
    }
    if (bounds.u0 > bounds.u1) {
        return {0, 0, -1, -1};
    }
    const double far =
        raster_most(raster_most(-bounds.u0, bounds.u1), raster_most(-bounds.v0, bounds.v1));
    return raster_box_of(a, row_begin, row_end, bounds, 1.0 + 1e-6 * raster_most(far, 0.0));
}

}  // namespace xs
