// interpolate: the surface point that a pixel's ray hits on a known face, and what belongs to it.
#pragma once

#include "fields.h"
#include "isa.h"
#include "rasterize/rasterize.h"

namespace xs {

// Pixels and the faces that they show, as every op that needs their surface points takes them.
struct PointsArgs {
    const float* vertices;        // [vertices, 3] local frame
    const int32_t* faces;         // [faces, 3] in file order
    const Camera* cameras;        // [cameras]
    const int32_t* camera_index;  // [n]
    const float* pixel;           // [n, 2] continuous (u, v)
    const int32_t* face_id;       // [n], -1: nothing is hit

    XS_FIELDS(vertices, faces, cameras, camera_index, pixel, face_id)
};

struct InterpolateArgs {
    PointsArgs points;
    const float* normals;  // [vertices, 3] unit; null: normals are not wanted
    int64_t n;
    float* position;   // [n, 3] local frame
    float* normal;     // [n, 3] unit; null if normals is
    float* direction;  // [n, 3] unit, camera to point
    float* footprint;  // [n] a pixel's size on the surface, world units
    float* depth;      // [n] camera z; distance for wide lenses

    XS_FIELDS(points, normals, n, position, normal, direction, footprint, depth)
};

// Where a ray meets a face's plane, and what belongs to that point.
struct InterpolateHit {
    double weight0, weight1, weight2;  // of the corners
    Vec3d position, direction;
    double footprint, depth;
};

XS_HD XS_ALWAYS_INLINE static InterpolateHit interpolate_hit(const Camera& camera, const Vec3d& ray,
                                                             double length, double solid_angle,
                                                             const Vec3d& p0, const Vec3d& p1,
                                                             const Vec3d& p2) {
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
    InterpolateHit hit;
    hit.weight0 = b0;
    hit.weight1 = b1;
    hit.weight2 = b2;
    hit.position = {b0 * p0.x + b1 * p1.x + b2 * p2.x, b0 * p0.y + b1 * p1.y + b2 * p2.y,
                    b0 * p0.z + b1 * p1.z + b2 * p2.z};
    hit.depth = sum != 0.0 ? f.det / sum : c0.z;
    const double* R = camera.rotation;
    hit.direction = {(R[0] * ray.x + R[3] * ray.y + R[6] * ray.z) / length,
                     (R[1] * ray.x + R[4] * ray.y + R[7] * ray.z) / length,
                     (R[2] * ray.x + R[5] * ray.y + R[8] * ray.z) / length};
    const Vec3d flat =
        cross({c1.x - c0.x, c1.y - c0.y, c1.z - c0.z}, {c2.x - c0.x, c2.y - c0.y, c2.z - c0.z});
    const double area = sqrt(dot(flat, flat));
    double slope = area > 0.0 ? fabs(dot(flat, ray)) / (area * length) : 1.0;
    slope = slope > 0.1 ? slope : 0.1;
    // Square root of the pixel's solid angle, times the distance along the ray, projected.
    hit.footprint = hit.depth * length * sqrt(solid_angle) / sqrt(slope);
    return hit;
}

XS_HD static inline void interpolate_one(const InterpolateArgs& a, int64_t i) {
    float* position = a.position + 3 * i;
    float* direction = a.direction + 3 * i;
    const int32_t id = a.points.face_id[i];
    const Camera& camera = a.points.cameras[a.points.camera_index[i]];
    double solid_angle = 0.0;
    Vec3d ray{0.0, 0.0, 0.0};
    if (id >= 0) {
        ray = camera_ray(camera, a.points.pixel[2 * i], a.points.pixel[2 * i + 1], &solid_angle);
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
    const int32_t* face = a.points.faces + 3 * static_cast<int64_t>(id);
    const float* p0 = a.points.vertices + 3 * static_cast<int64_t>(face[0]);
    const float* p1 = a.points.vertices + 3 * static_cast<int64_t>(face[1]);
    const float* p2 = a.points.vertices + 3 * static_cast<int64_t>(face[2]);
    const InterpolateHit hit =
        interpolate_hit(camera, ray, length, solid_angle, {p0[0], p0[1], p0[2]},
                        {p1[0], p1[1], p1[2]}, {p2[0], p2[1], p2[2]});
    position[0] = static_cast<float>(hit.position.x);
    position[1] = static_cast<float>(hit.position.y);
    position[2] = static_cast<float>(hit.position.z);
    direction[0] = static_cast<float>(hit.direction.x);
    direction[1] = static_cast<float>(hit.direction.y);
    direction[2] = static_cast<float>(hit.direction.z);
    a.footprint[i] = static_cast<float>(hit.footprint);
    a.depth[i] = static_cast<float>(hit.depth);
    if (a.normals != nullptr) {
        double n[3];
        double norm = 0.0;
        for (int k = 0; k < 3; ++k) {
            n[k] = hit.weight0 * a.normals[3 * static_cast<int64_t>(face[0]) + k] +
                   hit.weight1 * a.normals[3 * static_cast<int64_t>(face[1]) + k] +
                   hit.weight2 * a.normals[3 * static_cast<int64_t>(face[2]) + k];
            norm += n[k] * n[k];
        }
        norm = norm > 0.0 ? 1.0 / sqrt(norm) : 0.0;
        for (int k = 0; k < 3; ++k) {
            a.normal[3 * i + k] = static_cast<float>(n[k] * norm);
        }
    }
}

// Points [begin, end): what interpolate_one gives for each, bit for bit.
XS_DECLARE_SIMD(void interpolate_chunk(const InterpolateArgs& args, int64_t begin, int64_t end))

// The pass over all pixels, for a device and for the emulation.
template <class Launcher>
void interpolate_passes(const Launcher& launcher, const InterpolateArgs& args) {
    const InterpolateArgs a = args;
    launcher.items("interpolate", a.n, [a] XS_HD(int64_t i) { interpolate_one(a, i); });
}

void interpolate_cpu(const InterpolateArgs& args);
void interpolate_cuda(const InterpolateArgs& args, void* stream);
void interpolate_emulated(const InterpolateArgs& args);

}  // namespace xs
