// reproject's inner loop, compiled once for each instruction set.
//
// Covered pixels are gathered into blocks whose numbers lie side by side, so that the compiler's
// vectors hold those of several pixels at every step.
#include <cstring>

#include "reproject/reproject.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int kPixels = 256;

struct Block {
    int count;
    int64_t place[kPixels];
    int32_t face_id[kPixels];
    alignas(64) float u[kPixels], v[kPixels], depth[kPixels];
    alignas(64) float corner[9][kPixels];
    alignas(64) float ray[3][kPixels], solid_angle[kPixels];
    alignas(64) float position[3][kPixels], normal[3][kPixels];
    alignas(64) float square[kPixels], area[kPixels];
    alignas(64) float seen_u[kPixels], seen_v[kPixels], seen_depth[kPixels], seen_area[kPixels];
    alignas(64) int32_t cell[kPixels];
    alignas(64) float right[kPixels], down[kPixels];
    alignas(64) float found_depth[4][kPixels];
    alignas(64) uint32_t found_colour[4][kPixels];
    alignas(64) uint32_t colour[kPixels];
    alignas(64) int32_t taken[kPixels];
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

void find_rays(const Camera& camera, const ReprojectView& view, Block& b) {
    const int n = b.count;
    if (is_pinhole(camera)) {
        for (int i = 0; i < n; ++i) {
            const Vec3f ray = reproject_ray(view, b.u[i], b.v[i], &b.solid_angle[i]);
            b.ray[0][i] = ray.x;
            b.ray[1][i] = ray.y;
            b.ray[2][i] = ray.z;
        }
        return;
    }
    for (int i = 0; i < n; ++i) {
        double solid_angle;
        const Vec3d ray = camera_ray(camera, b.u[i], b.v[i], &solid_angle);
        b.ray[0][i] = static_cast<float>(ray.x);
        b.ray[1][i] = static_cast<float>(ray.y);
        b.ray[2][i] = static_cast<float>(ray.z);
        b.solid_angle[i] = static_cast<float>(solid_angle);
    }
}

void find_points(const ReprojectView& view, Block& b) {
    for (int i = 0, n = b.count; i < n; ++i) {
        const ReprojectPoint point =
            reproject_point(view, {b.ray[0][i], b.ray[1][i], b.ray[2][i]}, b.solid_angle[i],
                            b.depth[i], {b.corner[0][i], b.corner[1][i], b.corner[2][i]},
                            {b.corner[3][i], b.corner[4][i], b.corner[5][i]},
                            {b.corner[6][i], b.corner[7][i], b.corner[8][i]});
        b.position[0][i] = point.position.x;
        b.position[1][i] = point.position.y;
        b.position[2][i] = point.position.z;
        b.normal[0][i] = point.normal.x;
        b.normal[1][i] = point.normal.y;
        b.normal[2][i] = point.normal.z;
        b.square[i] = point.square;
        b.area[i] = point.area;
    }
}

XS_ALWAYS_INLINE ReprojectPoint point_of(const Block& b, int i) {
    return {{b.position[0][i], b.position[1][i], b.position[2][i]},
            {b.normal[0][i], b.normal[1][i], b.normal[2][i]},
            b.square[i],
            b.area[i]};
}

XS_ALWAYS_INLINE void note(Block& b, int i, const ReprojectSeen& seen) {
    b.seen_u[i] = seen.u;
    b.seen_v[i] = seen.v;
    b.seen_depth[i] = seen.depth;
    b.seen_area[i] = seen.area;
}

void look(const Camera& camera, const ReprojectKey& relative, Block& b) {
    const ReprojectKey key = relative;  // a copy, which nothing that is written can change
    const int n = b.count;
    if (!is_pinhole(camera)) {
        for (int i = 0; i < n; ++i) {
            note(b, i, reproject_seen_lens(key, camera, point_of(b, i)));
        }
        return;
    }
    for (int i = 0; i < n; ++i) {
        note(b, i, reproject_seen_pinhole(key, point_of(b, i)));
    }
}

// Finds every pixel's place in a key frame, and the four pixels around it.
void find_cells(const ReprojectArgs& given, int64_t number, Block& b) {
    const ReprojectArgs a = given;
    const int n = b.count;
    for (int i = 0; i < n; ++i) {
        const ReprojectSeen seen{b.seen_u[i], b.seen_v[i], b.seen_depth[i], b.seen_area[i]};
        const ReprojectCell cell = reproject_cell(a, seen, b.area[i]);
        b.cell[i] = cell.place;
        b.right[i] = cell.right;
        b.down[i] = cell.down;
        b.taken[i] = cell.inside;
    }
    const int64_t first = number * a.key_height * a.key_width;
    const float* const upper = a.key_depth + first;
    const float* const lower = upper + a.key_width;
    const ReprojectWord* const above = reinterpret_cast<const ReprojectWord*>(a.key_colour) + first;
    const ReprojectWord* const below = above + a.key_width;
    for (int i = 0; i < n; ++i) {
        const int32_t at = b.cell[i];
        b.found_depth[0][i] = upper[at];
        b.found_depth[1][i] = upper[at + 1];
        b.found_depth[2][i] = lower[at];
        b.found_depth[3][i] = lower[at + 1];
        b.found_colour[0][i] = above[at];
        b.found_colour[1][i] = above[at + 1];
        b.found_colour[2][i] = below[at];
        b.found_colour[3][i] = below[at + 1];
    }
}

// Mixes the four pixels; those at another depth than the point are not taken.
void mix(double tolerance, Block& b) {
    const float square = static_cast<float>(tolerance * tolerance);
    for (int i = 0, n = b.count; i < n; ++i) {
        b.taken[i] &= reproject_same(b.seen_depth[i], square * b.seen_area[i], b.found_depth[0][i],
                                     b.found_depth[1][i], b.found_depth[2][i], b.found_depth[3][i]);
        b.colour[i] =
            reproject_colour(b.found_colour[0][i], b.found_colour[1][i], b.found_colour[2][i],
                             b.found_colour[3][i], b.right[i], b.down[i]);
    }
}

// Writes the colours that were taken; the other pixels move together.
void write_taken(const ReprojectArgs& a, Block& b) {
    ReprojectWord* const rgba = reinterpret_cast<ReprojectWord*>(a.rgba);
    int32_t* const missing = a.missing;
    const int n = b.count;
    int left = 0;
    for (int i = 0; i < n; ++i) {
        const int64_t place = b.place[i];
        if (b.taken[i]) {
            rgba[place] = b.colour[i];
            missing[place] = -1;
            continue;
        }
        b.place[left] = place;
        for (int axis = 0; axis < 3; ++axis) {
            b.position[axis][left] = b.position[axis][i];
            b.normal[axis][left] = b.normal[axis][i];
        }
        b.square[left] = b.square[i];
        b.area[left] = b.area[i];
        ++left;
    }
    b.count = left;
}

void run(const ReprojectArgs& a, const ReprojectView& view, const ReprojectKey* keys, Block& b) {
    if (a.keys > 0 && a.key_width > 1 && a.key_height > 1) {
        gather(a, b);
        find_rays(*a.camera, view, b);
        find_points(view, b);
        for (int64_t k = 0; k < a.keys && b.count > 0; ++k) {
            look(a.key_cameras[a.order[k]], keys[k], b);
            find_cells(a, a.order[k], b);
            mix(a.tolerance, b);
            write_taken(a, b);
        }
    }
}

}  // namespace

void reproject_rows(const ReprojectArgs& given, const ReprojectKey* keys, int64_t begin,
                    int64_t end) {
    const ReprojectArgs a = given;  // a copy, which nothing that is written can change
    const ReprojectView view = reproject_view(*a.camera);
    ReprojectWord* const rgba = reinterpret_cast<ReprojectWord*>(a.rgba);
    const int64_t width = a.width;
    Block b;
    int count = 0;
    for (int64_t y = begin; y < end; ++y) {
        const int64_t row = y * width;
        const float v = static_cast<float>(a.top + y) + a.offset_y;
        const float left = static_cast<float>(a.left) + a.offset_x;
        std::memcpy(a.missing + row, a.face_id + row, sizeof(int32_t) * width);
        std::memset(a.rgba + 4 * row, 255, 4 * width);
        for (int32_t x = 0; x < width; ++x) {
            const int32_t id = a.face_id[row + x];
            if (id < 0) {
                if (a.backdrop != nullptr) {
                    rgba[row + x] = reproject_backdrop(a, a.left + x, a.top + y);
                }
                continue;
            }
            __builtin_prefetch(a.faces + 3 * static_cast<int64_t>(id));
            b.place[count] = row + x;
            b.face_id[count] = id;
            b.u[count] = left + static_cast<float>(x);
            b.v[count] = v;
            b.depth[count] = a.view_depth[row + x];
            if (++count == kPixels) {
                b.count = count;
                run(a, view, keys, b);
                count = 0;
            }
        }
    }
    b.count = count;
    run(a, view, keys, b);
}

}  // namespace XS_ISA
}  // namespace xs
