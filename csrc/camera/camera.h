// The camera of the ops (xscale/geometry/camera.py, Camera.packed) and its pixel rays.
//
// Functions with loops are static: sources compiled once per instruction set must not share them
// through the linker.
#pragma once

#include "host_device.h"

namespace xs {

// A camera as Python packs it: 32 numbers. rotation and translation map the mesh's local frame. The
// formulas are those of xscale/geometry/lens.py.
struct Camera {
    double rotation[9];     // row major
    double translation[3];  // camera = rotation * local + translation
    double fx, fy, cx, cy, skew;
    double near;        // least multiple of a ray that counts as a hit
    double projection;  // a Projection
    double turning;     // whether distortion is more than radial
    double lens[11];    // n1 n2 n3 n4, d1 d2 d3, p1 p2, then e1 e2 of perspective lenses and sx sy
                        // of fisheyes; a FOV lens: omega
    double domain;      // largest |q| of the lens's domain
};
constexpr int kCameraSize = 32;
static_assert(sizeof(Camera) == kCameraSize * sizeof(double), "Camera.packed of Python");

enum Projection { kPinhole = 0, kPerspective = 1, kFisheye = 2, kFov = 3, kEquirectangular = 4 };

constexpr double kPi = 3.14159265358979323846;

struct Vec3d {
    double x, y, z;
};

XS_HD inline Vec3d cross(const Vec3d& a, const Vec3d& b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

XS_HD inline double dot(const Vec3d& a, const Vec3d& b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

XS_HD inline Vec3d camera_from_local(const Camera& camera, const Vec3d& p) {
    return {camera.rotation[0] * p.x + camera.rotation[1] * p.y + camera.rotation[2] * p.z +
                camera.translation[0],
            camera.rotation[3] * p.x + camera.rotation[4] * p.y + camera.rotation[5] * p.z +
                camera.translation[1],
            camera.rotation[6] * p.x + camera.rotation[7] * p.y + camera.rotation[8] * p.z +
                camera.translation[2]};
}

XS_HD inline Vec3d camera_from_local(const Camera& camera, const float* p) {
    return camera_from_local(camera, Vec3d{p[0], p[1], p[2]});
}

XS_HD inline bool is_pinhole(const Camera& camera) {
    return camera.projection == 0.0;
}

// The ray of a pinhole camera through continuous pixel (u, v), with z = 1.
XS_HD inline Vec3d pinhole_ray(const Camera& camera, double u, double v) {
    const double y = (v - camera.cy) / camera.fy;
    const double x = (u - camera.cx - camera.skew * y) / camera.fx;
    return {x, y, 1.0};
}

// The solid angle of the pixel around such a ray of length `length`, in steradians.
XS_HD inline double pinhole_solid_angle(const Camera& camera, double length) {
    return 1.0 / (length * length * length * camera.fx * camera.fy);
}

// N / D of the radial part at s, and its derivative by s.
XS_HD static inline double lens_radial(const double* c, double s, double* slope) {
    const double over = 1.0 + s * (c[0] + s * (c[1] + s * (c[2] + s * c[3])));
    const double under = 1.0 + s * (c[4] + s * (c[5] + s * c[6]));
    const double over_slope = c[0] + s * (2.0 * c[1] + s * (3.0 * c[2] + s * (4.0 * c[3])));
    const double under_slope = c[4] + s * (2.0 * c[5] + s * (3.0 * c[6]));
    const double f = over / under;
    *slope = (over_slope - f * under_slope) / under;
    return f;
}

// Smallest r in [0, most] with r f(r^2) = wanted, by Newton's method held in a bracket; above
// `most` where there is none. `determinant` becomes that of the map of the plane at r.
XS_HD static inline double lens_solve_radial(const double* c, double wanted, double most,
                                             double* determinant) {
    double slope;
    double f = lens_radial(c, most * most, &slope);
    if (wanted > most * f) {
        return 2.0 * most;
    }
    double low = 0.0;
    double high = most;
    double r = wanted < most ? wanted : most;
    for (int i = 0; i < 100; ++i) {
        const double s = r * r;
        f = lens_radial(c, s, &slope);
        const double growth = f + 2.0 * s * slope;
        *determinant = f * growth;
        const double off = r * f - wanted;
        if (off > 0.0) {
            high = r;
        } else {
            low = r;
        }
        double next = r - off / growth;
        if (!(next >= low && next <= high)) {
            next = 0.5 * (low + high);
        }
        const double step = fabs(next - r);
        r = next;
        if (step <= 4e-16 * r) {
            break;
        }
    }
    return r;
}

// Where a lens moves a flat point, and the map's derivatives there: xy is of x by y.
struct LensMap {
    double x, y;
    double xx, xy, yx, yy;

    XS_HD double determinant() const { return xx * yy - xy * yx; }
};

// The whole distortion at the flat point (x, y).
XS_HD static inline LensMap lens_map(const double* c, bool fisheye, double x, double y) {
    const double p1 = c[7], p2 = c[8];
    const double e1 = fisheye ? 0.0 : c[9], e2 = fisheye ? 0.0 : c[10];
    const double sx = fisheye ? c[9] : 0.0, sy = fisheye ? c[10] : 0.0;
    const double s = x * x + y * y;
    double slope;
    const double f = lens_radial(c, s, &slope);
    const double g = 1.0 + s * (e1 + s * e2);
    const double growth = 2.0 * (e1 + 2.0 * s * e2);
    const double tx = 2.0 * p1 * x * y + p2 * (s + 2.0 * x * x);
    const double ty = 2.0 * p2 * x * y + p1 * (s + 2.0 * y * y);
    const double both = 2.0 * x * y * slope + g * (2.0 * p1 * x + 2.0 * p2 * y);
    LensMap map;
    map.x = x * f + g * tx + sx * s;
    map.y = y * f + g * ty + sy * s;
    map.xx = f + 2.0 * x * x * slope + g * (2.0 * p1 * y + 6.0 * p2 * x) + x * growth * tx +
             2.0 * sx * x;
    map.yy = f + 2.0 * y * y * slope + g * (2.0 * p2 * x + 6.0 * p1 * y) + y * growth * ty +
             2.0 * sy * y;
    map.xy = both + y * growth * tx + 2.0 * sx * y;
    map.yx = both + x * growth * ty + 2.0 * sy * x;
    return map;
}

// The whole distortion undone by Newton's method from (x, y); false outside the domain.
XS_HD static inline bool lens_solve(const double* c, bool fisheye, double most, double dx,
                                    double dy, double* x, double* y, double* determinant) {
    const double size = 1.0 + sqrt(dx * dx + dy * dy);
    double step = 1.0;
    for (int i = 0; i < 31; ++i) {
        const LensMap map = lens_map(c, fisheye, *x, *y);
        const double ex = map.x - dx;
        const double ey = map.y - dy;
        *determinant = map.determinant();
        if (step <= 1e-16 || i == 30) {
            return sqrt(ex * ex + ey * ey) <= 1e-9 * size && *determinant > 0.0 &&
                   *x * *x + *y * *y <= most * most;
        }
        const double step_x = (map.yy * ex - map.xy * ey) / *determinant;
        const double step_y = (map.xx * ey - map.yx * ex) / *determinant;
        *x -= step_x;
        *y -= step_y;
        step = fabs(step_x) + fabs(step_y);
    }
    return false;
}

// The ray of any camera through continuous pixel (u, v): z = 1 for perspective lenses, unit length
// for wide ones (fisheyes, equirectangular), so that the multiple of it that reaches a point is
// the point's z or its distance. Zero outside the lens's domain: a zero ray hits nothing.
// `solid_angle` becomes the pixel's, in steradians.
XS_HD static inline Vec3d camera_ray(const Camera& camera, double u, double v,
                                     double* solid_angle) {
    const Vec3d flat = pinhole_ray(camera, u, v);
    const double area = camera.fx * camera.fy;
    const double* c = camera.lens;
    const double most = camera.domain;
    const int projection = static_cast<int>(camera.projection);
    *solid_angle = 0.0;
    if (projection == kPinhole) {
        *solid_angle = pinhole_solid_angle(camera, sqrt(dot(flat, flat)));
        return flat;
    }
    if (projection == kEquirectangular) {
        const double across = cos(flat.y);
        if (!(fabs(flat.y) <= 0.5 * kPi)) {
            return {0.0, 0.0, 0.0};
        }
        *solid_angle = across / area;
        return {across * sin(flat.x), sin(flat.y), across * cos(flat.x)};
    }
    double x = flat.x;
    double y = flat.y;
    double determinant = 1.0;
    const double wanted = sqrt(x * x + y * y);
    if (projection == kFov) {
        const double omega = fabs(c[0]);
        const double wide = 2.0 * tan(0.5 * omega);
        const double angle = wanted * omega;
        const double factor = wanted > 0.0 ? tan(angle) / (wanted * wide) : omega / wide;
        if (!(angle < 0.5 * kPi && wanted * factor <= most)) {
            return {0.0, 0.0, 0.0};
        }
        x *= factor;
        y *= factor;
        determinant = wide * cos(angle) * cos(angle) / (omega * factor);
    } else {
        double r = lens_solve_radial(c, wanted, most, &determinant);
        const bool turning = camera.turning != 0.0;
        if (r > most) {
            if (!turning) {
                return {0.0, 0.0, 0.0};
            }
            r = 0.95 * most;
        }
        if (wanted > 0.0) {
            x *= r / wanted;
            y *= r / wanted;
        }
        const bool fisheye = projection == kFisheye;
        if (turning && !lens_solve(c, fisheye, most, flat.x, flat.y, &x, &y, &determinant)) {
            return {0.0, 0.0, 0.0};
        }
    }
    if (projection == kFisheye) {
        const double theta = sqrt(x * x + y * y);
        const double scale = theta > 0.0 ? sin(theta) / theta : 1.0;
        *solid_angle = scale / (determinant * area);
        return {x * scale, y * scale, cos(theta)};
    }
    const double length = sqrt(x * x + y * y + 1.0);
    *solid_angle = 1.0 / (length * length * length * determinant * area);
    return {x, y, 1.0};
}

}  // namespace xs
