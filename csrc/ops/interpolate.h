// interpolate: the surface point that a pixel's ray hits on a known face, and what belongs to it.
#pragma once

#include "ops/rasterize.h"

namespace xs {

struct InterpolateArgs {
    const float* vertices;        // [vertices, 3] local frame
    const int32_t* faces;         // [faces, 3] in file order
    const float* normals;         // [vertices, 3] unit; null: normals are not wanted
    const double* cameras;        // [cameras, 32] packed
    const int32_t* camera_index;  // [n]
    const float* pixel;           // [n, 2] continuous (u, v)
    const int32_t* face_id;       // [n], -1: nothing is hit
    int64_t n;
    float* position;   // [n, 3] local frame
    float* normal;     // [n, 3] unit; null if normals is
    float* direction;  // [n, 3] unit, camera to point
    float* footprint;  // [n] a pixel's size on the surface, world units
    float* depth;      // [n] camera z; distance for wide lenses
};

XS_HD static inline void interpolate_one(const InterpolateArgs& a, int64_t i) {
    float* position = a.position + 3 * i;
    float* direction = a.direction + 3 * i;
    const int32_t id = a.face_id[i];
    const double* camera = a.cameras + static_cast<int64_t>(kCameraSize) * a.camera_index[i];
    double solid_angle = 0.0;
    Vec3d ray{0.0, 0.0, 0.0};
    if (id >= 0) {
        ray = camera_ray(camera, a.pixel[2 * i], a.pixel[2 * i + 1], &solid_angle);
    }
    const double length = sqrt(dot(ray, ray));
    if (length == 0.0) {
        for (int k = 0; k < 3; ++k) {
            position[k] = 0.0f;
            direction[k] = 0.0f;
            if (a.normals != nullptr) {
                a.normal[3 * i + k] = 0.0f;
            }
        }
        a.footprint[i] = 0.0f;
        a.depth[i] = INFINITY;
        return;
    }
    const int32_t* face = a.faces + 3 * static_cast<int64_t>(id);
    const float* p0 = a.vertices + 3 * static_cast<int64_t>(face[0]);
    const float* p1 = a.vertices + 3 * static_cast<int64_t>(face[1]);
    const float* p2 = a.vertices + 3 * static_cast<int64_t>(face[2]);
    const Vec3d c0 = camera_from_local(camera, p0);
    const Vec3d c1 = camera_from_local(camera, p1);
    const Vec3d c2 = camera_from_local(camera, p2);
    const RasterFace f = raster_face(c0, c1, c2);
    const double e0 = dot(ray, f.n0);
    const double e1 = dot(ray, f.n1);
    const double e2 = dot(ray, f.n2);
    const double sum = e0 + e1 + e2;
    const double b0 = sum != 0.0 ? e0 / sum : 1.0;
    const double b1 = sum != 0.0 ? e1 / sum : 0.0;
    const double b2 = sum != 0.0 ? e2 / sum : 0.0;
    for (int k = 0; k < 3; ++k) {
        position[k] = static_cast<float>(b0 * p0[k] + b1 * p1[k] + b2 * p2[k]);
    }
    const double z = sum != 0.0 ? f.det / sum : c0.z;
    for (int k = 0; k < 3; ++k) {
        direction[k] = static_cast<float>(
            (camera[k] * ray.x + camera[3 + k] * ray.y + camera[6 + k] * ray.z) / length);
    }
    const Vec3d flat =
        cross({c1.x - c0.x, c1.y - c0.y, c1.z - c0.z}, {c2.x - c0.x, c2.y - c0.y, c2.z - c0.z});
    const double area = sqrt(dot(flat, flat));
    double slope = area > 0.0 ? fabs(dot(flat, ray)) / (area * length) : 1.0;
    slope = slope > 0.1 ? slope : 0.1;
    // Square root of the pixel's solid angle, times the distance along the ray, projected.
    a.footprint[i] = static_cast<float>(z * length * sqrt(solid_angle) / sqrt(slope));
    a.depth[i] = static_cast<float>(z);
    if (a.normals != nullptr) {
        double n[3];
        double norm = 0.0;
        for (int k = 0; k < 3; ++k) {
            n[k] = b0 * a.normals[3 * static_cast<int64_t>(face[0]) + k] +
                   b1 * a.normals[3 * static_cast<int64_t>(face[1]) + k] +
                   b2 * a.normals[3 * static_cast<int64_t>(face[2]) + k];
            norm += n[k] * n[k];
        }
        norm = norm > 0.0 ? 1.0 / sqrt(norm) : 0.0;
        for (int k = 0; k < 3; ++k) {
            a.normal[3 * i + k] = static_cast<float>(n[k] * norm);
        }
    }
}

void interpolate_cpu(const InterpolateArgs& args);
void interpolate_cuda(const InterpolateArgs& args, void* stream);

}  // namespace xs
