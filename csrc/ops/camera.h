// The packed camera of the ops (xscale/geometry/camera.py, Camera.packed) and its pixel rays.
#pragma once

#include "host_device.h"

namespace xs {

// float64[32]: 0-8 R row major, 9-11 t, 12 fx, 13 fy, 14 cx, 15 cy, 16 skew, 17 near, 18 model,
// 19 number of distortion parameters, 20-31 distortion. R, t map the mesh's local frame.
constexpr int kCameraSize = 32;

struct Vec3d {
    double x, y, z;
};

XS_HD inline Vec3d cross(const Vec3d& a, const Vec3d& b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

XS_HD inline double dot(const Vec3d& a, const Vec3d& b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

XS_HD inline Vec3d camera_from_local(const double* camera, const float* p) {
    const double x = p[0];
    const double y = p[1];
    const double z = p[2];
    return {camera[0] * x + camera[1] * y + camera[2] * z + camera[9],
            camera[3] * x + camera[4] * y + camera[5] * z + camera[10],
            camera[6] * x + camera[7] * y + camera[8] * z + camera[11]};
}

// The camera-space ray through continuous pixel (u, v), with z = 1. Distortion models slot in here.
XS_HD inline Vec3d camera_ray(const double* camera, double u, double v) {
    const double y = (v - camera[15]) / camera[13];
    const double x = (u - camera[14] - camera[16] * y) / camera[12];
    return {x, y, 1.0};
}

}  // namespace xs
