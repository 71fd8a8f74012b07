// Pixels of points: the inverse of camera_ray (camera.h).
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
    const LensMap map = lens_map(c, fisheye, *x, *y);
    const double radius = sqrt(*x * *x + *y * *y);
    *determinant = map.determinant();
    *x = map.x;
    *y = map.y;
    return radius <= most && *determinant > 0.0;
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
