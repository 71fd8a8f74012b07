// Pixels of points: the inverse of camera_ray (camera.h), for host and device.
#pragma once

#include "camera/camera.h"

namespace xs {

// Where a camera sees a point, how deep, and the solid angle of the pixel there in steradians.
struct CameraPixel {
    double u, v;  // NaN: the lens does not see it
    double depth;
    double solid_angle;
};

// The distorted place of the flat point (x, y) and the map's determinant there; false outside the
// lens's domain.
XS_HD static inline bool lens_distort(const double* c, bool fisheye, double most, double* x,
                                      double* y, double* determinant) {
    const double p1 = c[7], p2 = c[8];
    const double e1 = fisheye ? 0.0 : c[9], e2 = fisheye ? 0.0 : c[10];
    const double sx = fisheye ? c[9] : 0.0, sy = fisheye ? c[10] : 0.0;
    const double s = *x * *x + *y * *y;
    double slope;
    const double f = lens_radial(c, s, &slope);
    const double g = 1.0 + s * (e1 + s * e2);
    const double growth = 2.0 * (e1 + 2.0 * s * e2);
    const double tx = 2.0 * p1 * *x * *y + p2 * (s + 2.0 * *x * *x);
    const double ty = 2.0 * p2 * *x * *y + p1 * (s + 2.0 * *y * *y);
    const double both = 2.0 * *x * *y * slope + g * (2.0 * p1 * *x + 2.0 * p2 * *y);
    const double xx = f + 2.0 * *x * *x * slope + g * (2.0 * p1 * *y + 6.0 * p2 * *x) +
                      *x * growth * tx + 2.0 * sx * *x;
    const double yy = f + 2.0 * *y * *y * slope + g * (2.0 * p2 * *x + 6.0 * p1 * *y) +
                      *y * growth * ty + 2.0 * sy * *y;
    const double xy = both + *y * growth * tx + 2.0 * sx * *y;
    const double yx = both + *x * growth * ty + 2.0 * sy * *x;
    *determinant = xx * yy - xy * yx;
    const double dx = *x * f + g * tx + sx * s;
    const double dy = *y * f + g * ty + sy * s;
    *x = dx;
    *y = dy;
    return sqrt(s) <= most && *determinant > 0.0;
}

// Where a camera with a lens, not a pinhole, sees the point p of its own space.
XS_HD static inline CameraPixel camera_pixel(const Camera& camera, const Vec3d& p) {
    const int projection = static_cast<int>(camera.projection);
    const double distance = sqrt(dot(p, p));
    const double* c = camera.lens;
    double x, y, depth, solid;
    bool seen;
    if (projection == kEquirectangular) {
        const double across = sqrt(p.x * p.x + p.z * p.z);
        x = atan2(p.x, p.z);
        y = atan2(p.y, across);
        depth = distance;
        solid = across / distance;
        seen = distance > 0.0;
    } else if (projection == kFisheye) {
        const double across = sqrt(p.x * p.x + p.y * p.y);
        const double theta = atan2(across, p.z);
        const double scale = across > 0.0 ? theta / across : 0.0;
        double determinant;
        x = p.x * scale;
        y = p.y * scale;
        seen = lens_distort(c, true, camera.domain, &x, &y, &determinant) && distance > 0.0;
        depth = distance;
        solid = (theta > 0.0 ? sin(theta) / theta : 1.0) / determinant;
    } else {
        x = p.x / p.z;
        y = p.y / p.z;
        double determinant;
        if (projection == kFov) {
            const double omega = fabs(c[0]);
            const double wide = 2.0 * tan(0.5 * omega);
            const double r = sqrt(x * x + y * y);
            const double factor = r > 0.0 ? atan(r * wide) / (omega * r) : wide / omega;
            // The derivative along the radius times that across it.
            determinant = wide / (omega * (1.0 + r * wide * (r * wide))) * factor;
            seen = r <= camera.domain;
            x *= factor;
            y *= factor;
        } else {
            seen = lens_distort(c, false, camera.domain, &x, &y, &determinant);
        }
        const double length = distance / p.z;
        depth = p.z;
        solid = 1.0 / (length * length * length * determinant);
        seen = seen && p.z > 0.0;
    }
    CameraPixel pixel;
    pixel.u = seen ? x * camera.fx + y * camera.skew + camera.cx : NAN;
    pixel.v = y * camera.fy + camera.cy;
    pixel.depth = depth;
    pixel.solid_angle = solid / (camera.fx * camera.fy);
    return pixel;
}

}  // namespace xs
