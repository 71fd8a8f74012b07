// breaks: corners of pixels that lie on another surface than their pixels' centres.
//
// On a plane 1 / z is linear across the picture. A corner lies elsewhere where its depth differs
// from the centre's by more than a step, and the opposite corner does not predict it; or where one
// of the two rays hits nothing.
#pragma once

#include <cmath>

#include "fields.h"
#include "host_device.h"

namespace xs {

struct BreaksArgs {
    int32_t width, height;      // of the rectangle
    const int32_t* face_id;     // [height, width] at the centres, -1 for none
    const float* depth;         // [height, width] there, +inf for none
    const int32_t* corner_id;   // [height + 1, width + 1] at the corners
    const float* corner_depth;  // [height + 1, width + 1] there
    float step;                 // least difference of depths, as a share of the depth
    uint8_t* flags;             // [height, width] bit k: corner k, row by row, lies elsewhere
    int32_t* needed;            // [height + 1, width + 1] face of corners that do for any pixel

    XS_FIELDS(width, height, face_id, depth, corner_id, corner_depth, step, flags, needed)
};

constexpr int32_t kBreaksNot = -2;  // in `needed`, where no pixel asks; -1: a miss

// Whether a corner's depth differs enough to look closer; false where both rays miss.
XS_HD inline bool breaks_jump(int32_t id, float depth, int32_t other_id, float other, float step) {
    const float limit = id < 0 ? 0.0f : depth * step;
    return (fabsf(other - depth) > limit) & (other_id != id);
}

// Flags of the pixel in a row and column of the rectangle.
XS_HD static inline uint8_t breaks_pixel(const BreaksArgs& a, int32_t row, int32_t column) {
    const int64_t i = row * int64_t{a.width} + column;
    const int64_t first = row * (int64_t{a.width} + 1) + column;
    const int64_t at[4] = {first, first + 1, first + a.width + 1, first + a.width + 2};
    const int32_t id = a.face_id[i];
    const float depth = a.depth[i];
    uint8_t flags = 0;
    for (int k = 0; k < 4; ++k) {
        const int32_t other_id = a.corner_id[at[k]];
        const float other = a.corner_depth[at[k]];
        if (!breaks_jump(id, depth, other_id, other, a.step)) {
            continue;
        }
        if (id >= 0 && other_id >= 0) {
            const float line = 1.0f / (2.0f / depth - 1.0f / a.corner_depth[at[3 - k]]);
            if (fabsf(line - other) <= a.step * (other < depth ? other : depth)) {
                continue;
            }
        }
        flags = static_cast<uint8_t>(flags | 1 << k);
    }
    return flags;
}

// Face of the corner in a row and column of the grid of corners, if a pixel asks for it.
XS_HD static inline int32_t breaks_corner(const BreaksArgs& a, int32_t row, int32_t column) {
    for (int k = 0; k < 4; ++k) {
        const int32_t y = row - k / 2;
        const int32_t x = column - k % 2;
        if (y >= 0 && y < a.height && x >= 0 && x < a.width &&
            (a.flags[y * int64_t{a.width} + x] >> k & 1) != 0) {
            return a.corner_id[row * (int64_t{a.width} + 1) + column];
        }
    }
    return kBreaksNot;
}

// The passes, for a device and for the emulation.
template <class Launcher>
void breaks_passes(const Launcher& launcher, const BreaksArgs& args) {
    const BreaksArgs a = args;
    launcher.items("breaks", int64_t{a.width} * a.height, [a] XS_HD(int64_t i) {
        a.flags[i] =
            breaks_pixel(a, static_cast<int32_t>(i / a.width), static_cast<int32_t>(i % a.width));
    });
    launcher.items("breaks", (int64_t{a.width} + 1) * (int64_t{a.height} + 1),
                   [a] XS_HD(int64_t i) {
                       const int64_t columns = int64_t{a.width} + 1;
                       a.needed[i] = breaks_corner(a, static_cast<int32_t>(i / columns),
                                                   static_cast<int32_t>(i % columns));
                   });
}

void breaks_cpu(const BreaksArgs& args);
void breaks_cuda(const BreaksArgs& args, void* stream);
void breaks_emulated(const BreaksArgs& args);

}  // namespace xs
