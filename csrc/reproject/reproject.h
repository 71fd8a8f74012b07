// reproject: colours of a new view's pixels, taken from key frames that show the same points.
//
// A pixel's surface point is projected into the key frames in turn. The first one that shows it at
// the same depth, about as large, gives the colour.
#pragma once

#include "interpolate/interpolate.h"
#include "isa.h"
#include "reproject/project.h"

namespace xs {

struct ReprojectArgs {
    const float* vertices;      // [vertices, 3] local frame
    const int32_t* faces;       // [faces, 3] in file order
    const Camera* camera;       // the new view
    const int32_t* face_id;     // [height, width], -1: nothing is hit
    int64_t left, top;          // of the rectangle in the picture
    int64_t width, height;      // of the rectangle
    float offset_x, offset_y;   // sample position inside a pixel
    const Camera* key_cameras;  // [key frames]
    const uint8_t* key_colour;  // [key frames, key_height, key_width, 3]
    const float* key_depth;     // [key frames, key_height, key_width], +inf: nothing is hit
    int64_t key_height, key_width;
    const int32_t* order;  // [keys] key frames in the order in which they are tried
    int64_t keys;
    double tolerance;         // largest difference of depths, in footprints of the key frame
    double sharper, coarser;  // least and greatest footprint of the view over the key frame's
    uint8_t* rgb;             // [height, width, 3] out; 255 where nothing was taken
    float* depth;             // [height, width] out; +inf where nothing is hit
    int32_t* missing;         // [height, width] out: the face to be shaded still, else -1

    XS_FIELDS(vertices, faces, camera, face_id, left, top, width, height, offset_x, offset_y,
              key_cameras, key_colour, key_depth, key_height, key_width, order, keys, tolerance,
              sharper, coarser, rgb, depth, missing)
};

// A pixel's point on the surface.
struct ReprojectPoint {
    Vec3d position;  // local frame
    Vec3d normal;    // of the face, any length
    double depth, footprint;
};

// A point as a key frame sees it.
struct ReprojectSeen {
    double u, v, depth, footprint;
};

XS_HD XS_ALWAYS_INLINE static ReprojectPoint reproject_point(const Camera& camera, const Vec3d& ray,
                                                             double length, double solid_angle,
                                                             const Vec3d& p0, const Vec3d& p1,
                                                             const Vec3d& p2) {
    const InterpolateHit hit = interpolate_hit(camera, ray, length, solid_angle, p0, p1, p2);
    ReprojectPoint point;
    // Rounded as interpolate writes them, so that a point is the same one everywhere.
    point.position = {static_cast<float>(hit.position.x), static_cast<float>(hit.position.y),
                      static_cast<float>(hit.position.z)};
    point.normal =
        cross({p1.x - p0.x, p1.y - p0.y, p1.z - p0.z}, {p2.x - p0.x, p2.y - p0.y, p2.z - p0.z});
    point.depth = hit.depth;
    point.footprint = hit.footprint;
    return point;
}

XS_HD XS_ALWAYS_INLINE static Vec3d camera_centre(const Camera& camera) {
    const double* r = camera.rotation;
    const double* t = camera.translation;
    return {-(r[0] * t[0] + r[3] * t[1] + r[6] * t[2]), -(r[1] * t[0] + r[4] * t[1] + r[7] * t[2]),
            -(r[2] * t[0] + r[5] * t[1] + r[8] * t[2])};
}

// The point as a key frame sees it: its pixel, and the pixel's size on the face.
XS_HD XS_ALWAYS_INLINE static ReprojectSeen reproject_seen(const CameraPixel& pixel,
                                                           const Vec3d& centre,
                                                           const ReprojectPoint& point) {
    const Vec3d away{point.position.x - centre.x, point.position.y - centre.y,
                     point.position.z - centre.z};
    const double square = dot(away, away);
    const double size = sqrt(dot(point.normal, point.normal) * square);
    double cosine = fabs(dot(point.normal, away)) / size;
    cosine = cosine > 0.1 ? cosine : 0.1;  // also where a face has no area and no normal
    return {pixel.u, pixel.v, pixel.depth, sqrt(square * pixel.solid_angle / cosine)};
}

// Takes a pixel's colour from a key frame into rgb[3]; false where that does not show the point.
XS_HD static inline bool reproject_take(const ReprojectArgs& a, int64_t key,
                                        const ReprojectSeen& seen, double footprint, uint8_t* rgb) {
    const double ratio = footprint / seen.footprint;
    const double x = seen.u - 0.5;
    const double y = seen.v - 0.5;
    // Written so that NaN fails.
    if (!(ratio >= a.sharper && ratio <= a.coarser && x >= 0.0 && y >= 0.0 &&
          x < static_cast<double>(a.key_width - 1) && y < static_cast<double>(a.key_height - 1))) {
        return false;
    }
    const int64_t column = static_cast<int64_t>(x);
    const int64_t row = static_cast<int64_t>(y);
    const int64_t place = (key * a.key_height + row) * a.key_width + column;
    const double most = a.tolerance * seen.footprint;
    const float* depth = a.key_depth + place;
    if (!(fabs(depth[0] - seen.depth) <= most && fabs(depth[1] - seen.depth) <= most &&
          fabs(depth[a.key_width] - seen.depth) <= most &&
          fabs(depth[a.key_width + 1] - seen.depth) <= most)) {
        return false;
    }
    const float right = static_cast<float>(x - static_cast<double>(column));
    const float down = static_cast<float>(y - static_cast<double>(row));
    const uint8_t* upper = a.key_colour + 3 * place;
    const uint8_t* lower = upper + 3 * a.key_width;
    for (int c = 0; c < 3; ++c) {
        const float above = upper[c] + right * (upper[3 + c] - upper[c]);
        const float below = lower[c] + right * (lower[3 + c] - lower[c]);
        rgb[c] = static_cast<uint8_t>(above + down * (below - above) + 0.5f);
    }
    return true;
}

// Pixel i of the rectangle.
XS_HD static inline void reproject_one(const ReprojectArgs& a, int64_t i) {
    uint8_t* rgb = a.rgb + 3 * i;
    rgb[0] = rgb[1] = rgb[2] = 255;
    a.depth[i] = INFINITY;
    a.missing[i] = -1;
    const int32_t id = a.face_id[i];
    if (id < 0) {
        return;
    }
    const float u = static_cast<float>(a.left + i % a.width) + a.offset_x;
    const float v = static_cast<float>(a.top + i / a.width) + a.offset_y;
    double solid_angle;
    const Vec3d ray = camera_ray(*a.camera, u, v, &solid_angle);
    const double length = sqrt(dot(ray, ray));
    if (length == 0.0) {
        return;
    }
    const int32_t* face = a.faces + 3 * static_cast<int64_t>(id);
    const float* p0 = a.vertices + 3 * static_cast<int64_t>(face[0]);
    const float* p1 = a.vertices + 3 * static_cast<int64_t>(face[1]);
    const float* p2 = a.vertices + 3 * static_cast<int64_t>(face[2]);
    const ReprojectPoint point =
        reproject_point(*a.camera, ray, length, solid_angle, {p0[0], p0[1], p0[2]},
                        {p1[0], p1[1], p1[2]}, {p2[0], p2[1], p2[2]});
    a.depth[i] = static_cast<float>(point.depth);
    for (int64_t k = 0; k < a.keys; ++k) {
        const int64_t key = a.order[k];
        const Camera& camera = a.key_cameras[key];
        const CameraPixel pixel = camera_pixel(camera, point.position);
        const ReprojectSeen seen = reproject_seen(pixel, camera_centre(camera), point);
        if (reproject_take(a, key, seen, point.footprint, rgb)) {
            return;
        }
    }
    a.missing[i] = id;
}

// Pixels [begin, end): what reproject_one gives for each.
XS_DECLARE_SIMD(void reproject_chunk(const ReprojectArgs& args, int64_t begin, int64_t end))

void reproject_cpu(const ReprojectArgs& args);
void reproject_cuda(const ReprojectArgs& args, void* stream);
// The device body's items, run on the host.
void reproject_emulated(const ReprojectArgs& args);

}  // namespace xs
