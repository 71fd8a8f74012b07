// sides: from which side each pixel sees its face, and which pixels that leaves.
//
// A face is seen from behind where both its winding and its vertex normals point away from the
// camera: small faces that are folded over within a surface count as the side around them.
#pragma once

#include "camera/camera.h"
#include "fields.h"

namespace xs {

constexpr uint8_t kSideNone = 0;
constexpr uint8_t kSideFront = 1;
constexpr uint8_t kSideBack = 2;

struct SidesArgs {
    const float* vertices;   // [vertices, 3] local frame
    const int32_t* faces;    // [faces, 3] in file order
    const float* normals;    // [vertices, 3] unit
    const Camera* camera;    // one
    const int32_t* face_id;  // [n], -1: nothing is hit
    const uint8_t* allowed;  // [faces] sides that are surface, bits of kSide*; null: both of all
    int64_t n;
    uint8_t* side;  // [n] kSideNone where nothing is hit; null: not wanted
    int32_t* kept;  // [n] face_id, -1 where its side is not surface; null: not wanted

    XS_FIELDS(vertices, faces, normals, camera, face_id, allowed, n, side, kept)
};

// The side of a face that the camera sees; the same for all of its pixels.
XS_HD inline uint8_t side_seen(const SidesArgs& a, int32_t id) {
    const int32_t* face = a.faces + 3 * static_cast<int64_t>(id);
    Vec3d corner[3];
    Vec3d middle{0.0, 0.0, 0.0};
    Vec3d normal{0.0, 0.0, 0.0};
    for (int k = 0; k < 3; ++k) {
        const int64_t row = 3 * static_cast<int64_t>(face[k]);
        corner[k] = camera_from_local(*a.camera, a.vertices + row);
        middle = {middle.x + corner[k].x, middle.y + corner[k].y, middle.z + corner[k].z};
        normal = {normal.x + a.normals[row], normal.y + a.normals[row + 1],
                  normal.z + a.normals[row + 2]};
    }
    const double* R = a.camera->rotation;
    const Vec3d turned{R[0] * normal.x + R[1] * normal.y + R[2] * normal.z,
                       R[3] * normal.x + R[4] * normal.y + R[5] * normal.z,
                       R[6] * normal.x + R[7] * normal.y + R[8] * normal.z};
    const bool wound_away = dot(corner[0], cross(corner[1], corner[2])) > 0.0;
    return wound_away && dot(middle, turned) > 0.0 ? kSideBack : kSideFront;
}

// Pixels [begin, end). Neighbours often show one face.
XS_HD static inline void sides_range(const SidesArgs& a, int64_t begin, int64_t end) {
    int32_t last = -1;
    uint8_t seen = kSideNone;
    for (int64_t i = begin; i < end; ++i) {
        const int32_t id = a.face_id[i];
        const bool both = id >= 0 && a.side == nullptr &&
                          (a.allowed == nullptr || a.allowed[id] == (kSideFront | kSideBack));
        if (id < 0) {
            seen = kSideNone;
        } else if (id != last && !both) {
            seen = side_seen(a, id);
        }
        last = both ? -1 : id;
        if (a.side != nullptr) {
            a.side[i] = seen;
        }
        if (a.kept != nullptr) {
            const bool keep = id < 0 || both || a.allowed == nullptr || (a.allowed[id] & seen) != 0;
            a.kept[i] = keep ? id : -1;
        }
    }
}

// The pass over all pixels, for a device and for the emulation.
template <class Launcher>
void sides_passes(const Launcher& launcher, const SidesArgs& args) {
    const SidesArgs a = args;
    launcher.items("sides", a.n, [a] XS_HD(int64_t i) { sides_range(a, i, i + 1); });
}

void sides_cpu(const SidesArgs& args);
void sides_cuda(const SidesArgs& args, void* stream);
void sides_emulated(const SidesArgs& args);

}  // namespace xs
