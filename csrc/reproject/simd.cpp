// reproject's inner loop, compiled once for each instruction set.
//
// Covered pixels are gathered into blocks whose numbers lie side by side, so that the compiler's
// vectors hold those of several pixels; only the look into a key frame goes pixel by pixel.
#include "reproject/reproject.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int kPixels = 64;

// Points are kept as float: what they are compared with is no finer.
struct Block {
    int count;
    int64_t place[kPixels];
    int32_t face_id[kPixels];
    alignas(64) float corner[9][kPixels];
    alignas(64) float u[kPixels], v[kPixels];
    alignas(64) float position[3][kPixels], normal[3][kPixels];
    alignas(64) float depth[kPixels], footprint[kPixels];
    alignas(64) float seen_u[kPixels], seen_v[kPixels], seen_depth[kPixels];
    alignas(64) float seen_footprint[kPixels];
};

// Faces and corners lie anywhere in the mesh, so they are asked for before they are needed.
void gather(const ReprojectArgs& a, Block& b) {
    for (int i = 0; i < b.count; ++i) {
        const int32_t* face = a.faces + 3 * static_cast<int64_t>(b.face_id[i]);
        for (int corner = 0; corner < 3; ++corner) {
            __builtin_prefetch(a.vertices + 3 * static_cast<int64_t>(face[corner]));
        }
    }
    for (int i = 0; i < b.count; ++i) {
        const int32_t* face = a.faces + 3 * static_cast<int64_t>(b.face_id[i]);
        for (int corner = 0; corner < 3; ++corner) {
            const float* p = a.vertices + 3 * static_cast<int64_t>(face[corner]);
            b.corner[3 * corner][i] = p[0];
            b.corner[3 * corner + 1][i] = p[1];
            b.corner[3 * corner + 2][i] = p[2];
        }
    }
}

XS_ALWAYS_INLINE void find_point(const Camera& camera, Block& b, int i, const Vec3d& ray,
                                 double length, double solid_angle) {
    const ReprojectPoint point = reproject_point(camera, ray, length, solid_angle,
                                                 {b.corner[0][i], b.corner[1][i], b.corner[2][i]},
                                                 {b.corner[3][i], b.corner[4][i], b.corner[5][i]},
                                                 {b.corner[6][i], b.corner[7][i], b.corner[8][i]});
    b.position[0][i] = static_cast<float>(point.position.x);
    b.position[1][i] = static_cast<float>(point.position.y);
    b.position[2][i] = static_cast<float>(point.position.z);
    b.normal[0][i] = static_cast<float>(point.normal.x);
    b.normal[1][i] = static_cast<float>(point.normal.y);
    b.normal[2][i] = static_cast<float>(point.normal.z);
    b.depth[i] = static_cast<float>(point.depth);
    b.footprint[i] = static_cast<float>(point.footprint);
}

void find_points(const Camera& packed, Block& b) {
    const Camera camera = packed;  // a copy, which nothing that is written can change
    const int n = b.count;
    if (!is_pinhole(camera)) {
        for (int i = 0; i < n; ++i) {
            double solid_angle;
            const Vec3d ray = camera_ray(camera, b.u[i], b.v[i], &solid_angle);
            find_point(camera, b, i, ray, sqrt(dot(ray, ray)), solid_angle);
        }
        return;
    }
    for (int i = 0; i < n; ++i) {
        const Vec3d ray = pinhole_ray(camera, b.u[i], b.v[i]);
        const double length = sqrt(dot(ray, ray));
        find_point(camera, b, i, ray, length, pinhole_solid_angle(camera, length));
    }
}

XS_ALWAYS_INLINE ReprojectPoint point_of(const Block& b, int i) {
    return {{b.position[0][i], b.position[1][i], b.position[2][i]},
            {b.normal[0][i], b.normal[1][i], b.normal[2][i]},
            b.depth[i],
            b.footprint[i]};
}

XS_ALWAYS_INLINE void see(Block& b, int i, const ReprojectSeen& seen) {
    b.seen_u[i] = static_cast<float>(seen.u);
    b.seen_v[i] = static_cast<float>(seen.v);
    b.seen_depth[i] = static_cast<float>(seen.depth);
    b.seen_footprint[i] = static_cast<float>(seen.footprint);
}

void look(const Camera& packed, Block& b) {
    const Camera camera = packed;
    const Vec3d centre = camera_centre(camera);
    const int n = b.count;
    if (!is_pinhole(camera)) {
        for (int i = 0; i < n; ++i) {
            const ReprojectPoint point = point_of(b, i);
            see(b, i, reproject_seen(camera_pixel(camera, point.position), centre, point));
        }
        return;
    }
    for (int i = 0; i < n; ++i) {
        const ReprojectPoint point = point_of(b, i);
        see(b, i, reproject_seen(pinhole_pixel(camera, point.position), centre, point));
    }
}

// Colours of the block's pixels from key frame `key`; the others move together.
void take(const ReprojectArgs& a, int64_t key, Block& b) {
    int left = 0;
    for (int i = 0; i < b.count; ++i) {
        const ReprojectSeen seen{b.seen_u[i], b.seen_v[i], b.seen_depth[i], b.seen_footprint[i]};
        const int64_t place = b.place[i];
        if (reproject_take(a, key, seen, b.footprint[i], a.rgb + 3 * place)) {
            a.missing[place] = -1;
            continue;
        }
        b.place[left] = place;
        for (int axis = 0; axis < 3; ++axis) {
            b.position[axis][left] = b.position[axis][i];
            b.normal[axis][left] = b.normal[axis][i];
        }
        b.footprint[left] = b.footprint[i];
        ++left;
    }
    b.count = left;
}

void run(const ReprojectArgs& a, Block& b) {
    gather(a, b);
    find_points(*a.camera, b);
    for (int i = 0; i < b.count; ++i) {
        a.depth[b.place[i]] = b.depth[i];
    }
    for (int64_t k = 0; k < a.keys && b.count > 0; ++k) {
        look(a.key_cameras[a.order[k]], b);
        take(a, a.order[k], b);
    }
}

// Whether pixel (u, v) sees anything at all: a lens may end inside the picture.
bool inside(const Camera& camera, float u, float v) {
    if (is_pinhole(camera)) {
        return true;
    }
    double solid_angle;
    const Vec3d ray = camera_ray(camera, u, v, &solid_angle);
    return dot(ray, ray) != 0.0;
}

}  // namespace

void reproject_chunk(const ReprojectArgs& a, int64_t begin, int64_t end) {
    Block b;
    b.count = 0;
    for (int64_t i = begin; i < end; ++i) {
        uint8_t* rgb = a.rgb + 3 * i;
        rgb[0] = rgb[1] = rgb[2] = 255;
        const int32_t id = a.face_id[i];
        const float u = static_cast<float>(a.left + i % a.width) + a.offset_x;
        const float v = static_cast<float>(a.top + i / a.width) + a.offset_y;
        if (id < 0 || !inside(*a.camera, u, v)) {
            a.depth[i] = INFINITY;
            a.missing[i] = -1;
        } else {
            a.missing[i] = id;
            b.place[b.count] = i;
            b.u[b.count] = u;
            b.v[b.count] = v;
            b.face_id[b.count] = id;
            ++b.count;
            __builtin_prefetch(a.faces + 3 * static_cast<int64_t>(id));
        }
        if (b.count == kPixels) {
            run(a, b);
            b.count = 0;
        }
    }
    run(a, b);
}

}  // namespace XS_ISA
}  // namespace xs
