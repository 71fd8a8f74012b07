// interpolate's inner loop, compiled once for each instruction set.
#include "interpolate/interpolate.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int kPoints = 64;

// Corners of the points' faces side by side, so that the compiler's vectors hold those of several.
struct Block {
    alignas(64) float corner[9][kPoints];
    alignas(64) float u[kPoints], v[kPoints];
    alignas(64) float position[3][kPoints], direction[3][kPoints];
};

// The points from `begin` on, at most kPoints and below `end`, that one camera sees on faces.
int seen_by_one(const InterpolateArgs& a, int64_t begin, int64_t end) {
    const int most = static_cast<int>(end - begin < kPoints ? end - begin : kPoints);
    int n = 0;
    while (n < most && a.points.face_id[begin + n] >= 0 &&
           a.points.camera_index[begin + n] == a.points.camera_index[begin]) {
        ++n;
    }
    return n;
}

// Faces and corners lie anywhere in the mesh, so they are asked for before they are needed: the
// corners of this block, and the faces of the next one.
void fetch(const InterpolateArgs& a, int64_t begin, int n, int next) {
    for (int i = 0; i < n; ++i) {
        const int32_t* face =
            a.points.faces + 3 * static_cast<int64_t>(a.points.face_id[begin + i]);
        for (int corner = 0; corner < 3; ++corner) {
            __builtin_prefetch(a.points.vertices + 3 * static_cast<int64_t>(face[corner]));
        }
    }
    for (int i = n; i < n + next; ++i) {
        const int32_t id = a.points.face_id[begin + i];
        __builtin_prefetch(a.points.faces + 3 * static_cast<int64_t>(id < 0 ? 0 : id));
    }
}

void gather(const InterpolateArgs& a, int64_t begin, int n, Block& b) {
    for (int i = 0; i < n; ++i) {
        const int32_t* face =
            a.points.faces + 3 * static_cast<int64_t>(a.points.face_id[begin + i]);
        for (int corner = 0; corner < 3; ++corner) {
            const float* p = a.points.vertices + 3 * static_cast<int64_t>(face[corner]);
            b.corner[3 * corner][i] = p[0];
            b.corner[3 * corner + 1][i] = p[1];
            b.corner[3 * corner + 2][i] = p[2];
        }
        b.u[i] = a.points.pixel[2 * (begin + i)];
        b.v[i] = a.points.pixel[2 * (begin + i) + 1];
    }
}

void compute(const Camera& camera, int n, Block& b, float* __restrict footprint,
             float* __restrict depth) {
    for (int i = 0; i < n; ++i) {
        const Vec3d ray = pinhole_ray(camera, b.u[i], b.v[i]);
        const double length = sqrt(dot(ray, ray));
        const InterpolateHit hit =
            interpolate_hit(camera, ray, length, pinhole_solid_angle(camera, length),
                            {b.corner[0][i], b.corner[1][i], b.corner[2][i]},
                            {b.corner[3][i], b.corner[4][i], b.corner[5][i]},
                            {b.corner[6][i], b.corner[7][i], b.corner[8][i]});
        b.position[0][i] = static_cast<float>(hit.position.x);
        b.position[1][i] = static_cast<float>(hit.position.y);
        b.position[2][i] = static_cast<float>(hit.position.z);
        b.direction[0][i] = static_cast<float>(hit.direction.x);
        b.direction[1][i] = static_cast<float>(hit.direction.y);
        b.direction[2][i] = static_cast<float>(hit.direction.z);
        footprint[i] = static_cast<float>(hit.footprint);
        depth[i] = static_cast<float>(hit.depth);
    }
}

}  // namespace

void interpolate_chunk(const InterpolateArgs& a, int64_t begin, int64_t end) {
    Block b;
    int n;
    for (int64_t first = begin; first < end; first += n) {
        n = seen_by_one(a, first, end);
        const Camera camera =
            a.points.cameras[a.points.camera_index[first]];  // a copy, which no store can change
        if (n == 0 || a.normals != nullptr || !is_pinhole(camera)) {
            n = n == 0 ? 1 : n;
            for (int64_t i = first; i < first + n; ++i) {
                interpolate_one(a, i);
            }
            continue;
        }
        const int64_t left = end - first - n;
        fetch(a, first, n, static_cast<int>(left < kPoints ? left : kPoints));
        gather(a, first, n, b);
        compute(camera, n, b, a.footprint + first, a.depth + first);
        for (int i = 0; i < n; ++i) {
            for (int k = 0; k < 3; ++k) {
                a.position[3 * (first + i) + k] = b.position[k][i];
                a.direction[3 * (first + i) + k] = b.direction[k][i];
            }
        }
    }
}

}  // namespace XS_ISA
}  // namespace xs
