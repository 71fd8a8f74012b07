// reproject: a new view's colours, taken from key frames that show the same surface points.
//
// A pixel's surface point is projected into the key frames in turn. The first one that shows it at
// the same depth, about as large, gives the colour. Everything is relative to the view's own camera
// and in single precision: a pixel's place in a key frame is then right to a thousandth of a pixel,
// however far from the local frame's origin both cameras stand.
#pragma once

#include "camera/pixel.h"
#include "fields.h"
#include "isa.h"

namespace xs {

constexpr int kBackdropStep = 4;  // pixels between two nodes of the backdrop

struct ReprojectArgs {
    const float* vertices;      // [vertices, 3] local frame
    const int32_t* faces;       // [faces, 3] in file order
    const Camera* camera;       // the new view
    const int32_t* face_id;     // [height, width], -1: nothing is hit
    const float* view_depth;    // [height, width] as rasterize gives it
    int64_t left, top;          // of the rectangle in the picture
    int64_t width, height;      // of the rectangle
    float offset_x, offset_y;   // sample position inside a pixel
    const Camera* key_cameras;  // [key frames]
    const uint8_t* key_colour;  // [key frames, key_height, key_width, 4]
    const float* key_depth;     // [key frames, key_height, key_width], +inf: nothing is hit
    int64_t key_height, key_width;
    const int32_t* order;  // [keys] key frames in the order in which they are tried
    int64_t keys;
    double tolerance;         // largest difference of depths, in footprints of the key frame
    double sharper, coarser;  // least and greatest footprint of the view over the key frame's
    const uint8_t* backdrop;  // [nodes down, backdrop_width, 4]: what uncovered pixels show at
                              // every kBackdropStep-th pixel's corner of the picture; null: white
    int64_t backdrop_width;
    uint8_t* rgba;     // [height, width, 4] out; 255 where nothing was taken, alpha always
    int32_t* missing;  // [height, width] out: the face to be shaded still, else -1

    XS_FIELDS(vertices, faces, camera, face_id, view_depth, left, top, width, height, offset_x,
              offset_y, key_cameras, key_colour, key_depth, key_height, key_width, order, keys,
              tolerance, sharper, coarser, backdrop, backdrop_width, rgba, missing)
};

// Three coordinates in the view's or a key frame's camera space.
struct Vec3f {
    float x, y, z;
};

XS_HD XS_ALWAYS_INLINE static float dot(const Vec3f& a, const Vec3f& b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

XS_HD XS_ALWAYS_INLINE static Vec3f turned(const float* m, const Vec3f& p) {
    return {m[0] * p.x + m[1] * p.y + m[2] * p.z, m[3] * p.x + m[4] * p.y + m[5] * p.z,
            m[6] * p.x + m[7] * p.y + m[8] * p.z};
}

// A key frame's camera relative to the view's.
struct ReprojectKey {
    float turn[9], move[3];  // key = turn * view + move
    Vec3f centre;            // of the key frame's camera, in the view's camera space
    float fx, fy, cx, cy, skew;
};

// The view's numbers that all of its pixels share.
struct ReprojectView {
    float rotation[9];  // camera from local
    float fx, fy, cx, cy, skew;
};

// A pixel's point on the surface.
struct ReprojectPoint {
    Vec3f position;  // in the view's camera space
    Vec3f normal;    // of the face there, any length
    float square;    // of the normal's length
    float area;      // square of the pixel's footprint
};

// A point as a key frame sees it.
struct ReprojectSeen {
    float u, v, depth;
    float area;  // square of the key frame's footprint
};

// The four pixels of a key frame around a point.
struct ReprojectCell {
    int32_t inside;     // 1: there are four, as fine as is wanted
    int32_t place;      // of the upper left one, in the key frame
    float right, down;  // shares of the right and the lower ones
};

XS_HD static inline ReprojectView reproject_view(const Camera& camera) {
    ReprojectView view;
    for (int i = 0; i < 9; ++i) {
        view.rotation[i] = static_cast<float>(camera.rotation[i]);
    }
    view.fx = static_cast<float>(camera.fx);
    view.fy = static_cast<float>(camera.fy);
    view.cx = static_cast<float>(camera.cx);
    view.cy = static_cast<float>(camera.cy);
    view.skew = static_cast<float>(camera.skew);
    return view;
}

XS_HD static inline ReprojectKey reproject_key(const Camera& view, const Camera& camera) {
    ReprojectKey key;
    double turn[9], move[3];
    for (int i = 0; i < 3; ++i) {
        move[i] = camera.translation[i];
        for (int k = 0; k < 3; ++k) {
            turn[3 * i + k] = 0.0;
            for (int j = 0; j < 3; ++j) {
                turn[3 * i + k] += camera.rotation[3 * i + j] * view.rotation[3 * k + j];
            }
            move[i] -= turn[3 * i + k] * view.translation[k];
        }
    }
    for (int i = 0; i < 9; ++i) {
        key.turn[i] = static_cast<float>(turn[i]);
    }
    for (int i = 0; i < 3; ++i) {
        key.move[i] = static_cast<float>(move[i]);
    }
    key.centre = {static_cast<float>(-(turn[0] * move[0] + turn[3] * move[1] + turn[6] * move[2])),
                  static_cast<float>(-(turn[1] * move[0] + turn[4] * move[1] + turn[7] * move[2])),
                  static_cast<float>(-(turn[2] * move[0] + turn[5] * move[1] + turn[8] * move[2]))};
    key.fx = static_cast<float>(camera.fx);
    key.fy = static_cast<float>(camera.fy);
    key.cx = static_cast<float>(camera.cx);
    key.cy = static_cast<float>(camera.cy);
    key.skew = static_cast<float>(camera.skew);
    return key;
}

// A cosine from its square, held above 0.1 as footprints are everywhere; NaN becomes 0.1.
XS_HD XS_ALWAYS_INLINE static float reproject_cosine(float square) {
    const float cosine = sqrtf(square);
    return cosine > 0.1f ? cosine : 0.1f;
}

// The ray of a pinhole camera through (u, v), and the solid angle of the pixel there.
XS_HD XS_ALWAYS_INLINE static Vec3f reproject_ray(const ReprojectView& view, float u, float v,
                                                  float* solid_angle) {
    const float y = (v - view.cy) / view.fy;
    const float x = (u - view.cx - view.skew * y) / view.fx;
    const Vec3f ray{x, y, 1.0f};
    const float square = dot(ray, ray);
    *solid_angle = 1.0f / (square * sqrtf(square) * view.fx * view.fy);
    return ray;
}

XS_HD XS_ALWAYS_INLINE static ReprojectPoint reproject_point(const ReprojectView& view,
                                                             const Vec3f& ray, float solid_angle,
                                                             float depth, const Vec3f& p0,
                                                             const Vec3f& p1, const Vec3f& p2) {
    const Vec3f a{p1.x - p0.x, p1.y - p0.y, p1.z - p0.z};
    const Vec3f b{p2.x - p0.x, p2.y - p0.y, p2.z - p0.z};
    // Edges in their own unit: products of very short or long ones have no place in a float.
    const float unit =
        1.0f / (fabsf(a.x) + fabsf(a.y) + fabsf(a.z)) / (fabsf(b.x) + fabsf(b.y) + fabsf(b.z));
    const Vec3f flat{(a.y * b.z - a.z * b.y) * unit, (a.z * b.x - a.x * b.z) * unit,
                     (a.x * b.y - a.y * b.x) * unit};
    ReprojectPoint point;
    point.normal = turned(view.rotation, flat);
    point.square = dot(point.normal, point.normal);
    point.position = {ray.x * depth, ray.y * depth, ray.z * depth};
    const float length = dot(ray, ray);
    const float facing = dot(point.normal, ray);
    const float cosine = reproject_cosine(facing * facing / (point.square * length));
    point.area = depth * depth * length * solid_angle / cosine;
    return point;
}

XS_HD XS_ALWAYS_INLINE static Vec3f reproject_moved(const ReprojectKey& key, const Vec3f& p) {
    const Vec3f q = turned(key.turn, p);
    return {q.x + key.move[0], q.y + key.move[1], q.z + key.move[2]};
}

// The square of a key frame's footprint at a point, `away` from its camera.
XS_HD XS_ALWAYS_INLINE static float reproject_area(const ReprojectKey& key,
                                                   const ReprojectPoint& point, float away,
                                                   float solid_angle) {
    const Vec3f ray{point.position.x - key.centre.x, point.position.y - key.centre.y,
                    point.position.z - key.centre.z};
    const float facing = dot(point.normal, ray);
    return away * solid_angle / reproject_cosine(facing * facing / (point.square * away));
}

XS_HD XS_ALWAYS_INLINE static ReprojectSeen reproject_seen_pinhole(const ReprojectKey& key,
                                                                   const ReprojectPoint& point) {
    const Vec3f p = reproject_moved(key, point.position);
    const float x = p.x / p.z;
    const float y = p.y / p.z;
    const float square = x * x + y * y + 1.0f;
    const float solid_angle = 1.0f / (square * sqrtf(square) * key.fx * key.fy);
    ReprojectSeen seen;
    const float u = x * key.fx + y * key.skew + key.cx;
    seen.u = p.z > 0.0f ? u : -1.0f;  // outside
    seen.v = y * key.fy + key.cy;
    seen.depth = p.z;
    seen.area = reproject_area(key, point, dot(p, p), solid_angle);
    return seen;
}

XS_HD static inline ReprojectSeen reproject_seen_lens(const ReprojectKey& key, const Camera& camera,
                                                      const ReprojectPoint& point) {
    const Vec3f p = reproject_moved(key, point.position);
    const CameraPixel pixel = camera_pixel(camera, {p.x, p.y, p.z});
    return {static_cast<float>(pixel.u), static_cast<float>(pixel.v),
            static_cast<float>(pixel.depth),
            reproject_area(key, point, dot(p, p), static_cast<float>(pixel.solid_angle))};
}

XS_HD XS_ALWAYS_INLINE static ReprojectCell reproject_cell(const ReprojectArgs& a,
                                                           const ReprojectSeen& seen, float area) {
    const float ratio = area / seen.area;
    const float x = seen.u - 0.5f;
    const float y = seen.v - 0.5f;
    const float sharper = static_cast<float>(a.sharper);
    const float coarser = static_cast<float>(a.coarser);
    // Written so that NaN fails, and without branches.
    const int32_t inside = (ratio >= sharper * sharper) & (ratio <= coarser * coarser) &
                           (x >= 0.0f) & (y >= 0.0f) & (x < static_cast<float>(a.key_width - 1)) &
                           (y < static_cast<float>(a.key_height - 1));
    const float column = inside ? x : 0.0f;
    const float row = inside ? y : 0.0f;
    ReprojectCell cell;
    cell.inside = inside;
    const int32_t left = static_cast<int32_t>(column);
    const int32_t above = static_cast<int32_t>(row);
    cell.place = above * static_cast<int32_t>(a.key_width) + left;
    cell.right = column - static_cast<float>(left);
    cell.down = row - static_cast<float>(above);
    return cell;
}

// 1 where four depths of a key frame lie at the point's; `most` is the largest difference's square.
XS_HD XS_ALWAYS_INLINE static int32_t reproject_same(float depth, float most, float d0, float d1,
                                                     float d2, float d3) {
    const float e0 = d0 - depth, e1 = d1 - depth, e2 = d2 - depth, e3 = d3 - depth;
    return (e0 * e0 <= most) & (e1 * e1 <= most) & (e2 * e2 <= most) & (e3 * e3 <= most);
}

// One channel between four pixels.
XS_HD XS_ALWAYS_INLINE static uint32_t reproject_mix(uint32_t c0, uint32_t c1, uint32_t c2,
                                                     uint32_t c3, float right, float down) {
    const float left0 = static_cast<float>(static_cast<int32_t>(c0));
    const float left1 = static_cast<float>(static_cast<int32_t>(c2));
    const float above = left0 + right * (static_cast<float>(static_cast<int32_t>(c1)) - left0);
    const float below = left1 + right * (static_cast<float>(static_cast<int32_t>(c3)) - left1);
    return static_cast<uint32_t>(static_cast<int32_t>(above + down * (below - above) + 0.5f));
}

// The pixel between four; red is the lowest byte.
XS_HD XS_ALWAYS_INLINE static uint32_t reproject_colour(uint32_t c0, uint32_t c1, uint32_t c2,
                                                        uint32_t c3, float right, float down) {
    const uint32_t m = 255;
    const uint32_t red = reproject_mix(c0 & m, c1 & m, c2 & m, c3 & m, right, down);
    const uint32_t green = reproject_mix(c0 >> 8 & m, c1 >> 8 & m, c2 >> 8 & m, c3 >> 8 & m,  //
                                         right, down);
    const uint32_t blue = reproject_mix(c0 >> 16 & m, c1 >> 16 & m, c2 >> 16 & m, c3 >> 16 & m,  //
                                        right, down);
    return red | green << 8 | blue << 16 | 0xff000000u;
}

// Pixels as words, whatever type wrote them.
#if defined(__CUDACC__)
typedef uint32_t ReprojectWord;
#else
typedef uint32_t __attribute__((may_alias)) ReprojectWord;
#endif

// The backdrop at the pixel in column `x` and row `y` of the picture.
XS_HD XS_ALWAYS_INLINE static uint32_t reproject_backdrop(const ReprojectArgs& a, int64_t x,
                                                          int64_t y) {
    constexpr float step = 1.0f / kBackdropStep;
    const int64_t column = x / kBackdropStep;
    const int64_t row = y / kBackdropStep;
    const float right = (static_cast<float>(x - column * kBackdropStep) + a.offset_x) * step;
    const float down = (static_cast<float>(y - row * kBackdropStep) + a.offset_y) * step;
    const ReprojectWord* upper =
        reinterpret_cast<const ReprojectWord*>(a.backdrop) + row * a.backdrop_width + column;
    const ReprojectWord* lower = upper + a.backdrop_width;
    return reproject_colour(upper[0], upper[1], lower[0], lower[1], right, down);
}

// Pixel i of the rectangle.
XS_HD static inline void reproject_one(const ReprojectArgs& a, int64_t i) {
    ReprojectWord* rgba = reinterpret_cast<ReprojectWord*>(a.rgba) + i;
    *rgba = 0xffffffffu;
    a.missing[i] = -1;
    const int32_t id = a.face_id[i];
    const int64_t x = a.left + i % a.width;
    const int64_t y = a.top + i / a.width;
    if (id < 0) {
        if (a.backdrop != nullptr) {
            *rgba = reproject_backdrop(a, x, y);
        }
        return;
    }
    const Camera& camera = *a.camera;
    const ReprojectView view = reproject_view(camera);
    const float u = static_cast<float>(x) + a.offset_x;
    const float v = static_cast<float>(y) + a.offset_y;
    float solid_angle;
    Vec3f ray;
    if (is_pinhole(camera)) {
        ray = reproject_ray(view, u, v, &solid_angle);
    } else {
        double solid;
        const Vec3d exact = camera_ray(camera, u, v, &solid);
        ray = {static_cast<float>(exact.x), static_cast<float>(exact.y),
               static_cast<float>(exact.z)};
        solid_angle = static_cast<float>(solid);
    }
    const int32_t* face = a.faces + 3 * static_cast<int64_t>(id);
    const float* p0 = a.vertices + 3 * static_cast<int64_t>(face[0]);
    const float* p1 = a.vertices + 3 * static_cast<int64_t>(face[1]);
    const float* p2 = a.vertices + 3 * static_cast<int64_t>(face[2]);
    const ReprojectPoint point =
        reproject_point(view, ray, solid_angle, a.view_depth[i], {p0[0], p0[1], p0[2]},
                        {p1[0], p1[1], p1[2]}, {p2[0], p2[1], p2[2]});
    for (int64_t k = 0; k < a.keys; ++k) {
        const int64_t number = a.order[k];
        const Camera& other = a.key_cameras[number];
        const ReprojectKey key = reproject_key(camera, other);
        const ReprojectSeen seen = is_pinhole(other) ? reproject_seen_pinhole(key, point)
                                                     : reproject_seen_lens(key, other, point);
        const ReprojectCell cell = reproject_cell(a, seen, point.area);
        if (!cell.inside) {
            continue;
        }
        const int64_t place = number * a.key_height * a.key_width + cell.place;
        const float* upper = a.key_depth + place;
        const float* lower = upper + a.key_width;
        const float most = static_cast<float>(a.tolerance * a.tolerance) * seen.area;
        if (!reproject_same(seen.depth, most, upper[0], upper[1], lower[0], lower[1])) {
            continue;
        }
        const ReprojectWord* above = reinterpret_cast<const ReprojectWord*>(a.key_colour) + place;
        const ReprojectWord* below = above + a.key_width;
        *rgba = reproject_colour(above[0], above[1], below[0], below[1], cell.right, cell.down);
        return;
    }
    a.missing[i] = id;
}

// Rows [begin, end): what reproject_one gives for their pixels; `keys` are those of a.order.
XS_DECLARE_SIMD(void reproject_rows(const ReprojectArgs& args, const ReprojectKey* keys,
                                    int64_t begin, int64_t end))

// A device's only pass: an item for each pixel.
template <class Launcher>
void reproject_passes(const Launcher& launcher, const ReprojectArgs& args) {
    const ReprojectArgs a = args;
    launcher.items("reproject", a.width * a.height, [a] XS_HD(int64_t i) { reproject_one(a, i); });
}

void reproject_cpu(const ReprojectArgs& args);
void reproject_cuda(const ReprojectArgs& args, void* stream);
// The device's pass, run on the host.
void reproject_emulated(const ReprojectArgs& args);

}  // namespace xs
