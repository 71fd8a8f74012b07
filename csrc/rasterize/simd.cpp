// rasterize's inner loop for pinhole cameras, compiled once for each instruction set.
#include "rasterize/draw.h"

namespace xs {
namespace XS_ISA {

namespace {

// Bounds of points are (u, v, -u, -v): the largest of a face's corners are its bounds. What float32
// may have got wrong covers the slack, which the exact test does not share.
float projection_slack(const RasterizeArgs& a) {
    const double size =
        std::fabs(a.camera->cx - a.left) + std::fabs(a.camera->cy - a.top) + a.width + a.height;
    return static_cast<float>(1e-4 + 1e-6 * size);
}

// Lanes of the first two of three vectors, then of these and the third.
#define XS_THREE(p, a, b, c, d, e, f, g, h, ...)                                               \
    __builtin_shufflevector(__builtin_shufflevector(p[0], p[1], a, b, c, d, e, f, g, h), p[2], \
                            __VA_ARGS__)

// Bounds of a cluster's points, from where they lie about its middle. Returns their slack, or
// infinity, and no bounds, where the cluster reaches too near to the camera's plane for float32.
float project(const RasterizeArgs& a, const float* box, const float* __restrict point,
              int64_t count, float* __restrict bound) {
    const Camera& c = *a.camera;
    const float middle[3] = {0.5f * (box[0] + box[3]), 0.5f * (box[1] + box[4]),
                             0.5f * (box[2] + box[5])};
    const Vec3d base = camera_from_local(c, middle);
    // No point is farther from the middle.
    const double reach =
        0.5 * (double{box[3]} - box[0] + double{box[4]} - box[1] + double{box[5]} - box[2]);
    const double nearest = base.z - reach;
    const double aside = (std::fabs(base.x) + std::fabs(base.y) + reach) / nearest;
    const double focal = std::fabs(c.fx) + std::fabs(c.fy) + std::fabs(c.skew);
    // Some sixteen roundings of 2^-24 on the way, and the quotient's share of them.
    const double error = 1e-6 * focal * (1.0 + aside) * (aside + (base.z + reach) / nearest);
    if (!(nearest > 1e-30 && error < 0.25)) {
        return INFINITY;
    }
    float row[3][4];  // u and v times z, z
    for (int i = 0; i < 4; ++i) {
        const double x = i < 3 ? c.rotation[i] : base.x;
        const double y = i < 3 ? c.rotation[3 + i] : base.y;
        const double z = i < 3 ? c.rotation[6 + i] : base.z;
        row[0][i] = static_cast<float>(c.fx * x + c.skew * y);
        row[1][i] = static_cast<float>(c.fy * y);
        row[2][i] = static_cast<float>(z);
    }
    const float shift_u = static_cast<float>(c.cx - a.left - a.offset_x);
    const float shift_v = static_cast<float>(c.cy - a.top - a.offset_y);
    for (int64_t i = 0; i < count; i += 8) {
        EightFloats p[3];
        float last[24] = {};
        const float* from = point + 3 * i;
        if (count - i < 8) {
            std::memcpy(last, from, 3 * (count - i) * sizeof(float));
            from = last;
        }
        std::memcpy(p, from, sizeof p);
        const EightFloats x =
            XS_THREE(p, 0, 3, 6, 9, 12, 15, 0, 0, 0, 1, 2, 3, 4, 5, 10, 13) - middle[0];
        const EightFloats y =
            XS_THREE(p, 1, 4, 7, 10, 13, 0, 0, 0, 0, 1, 2, 3, 4, 8, 11, 14) - middle[1];
        const EightFloats z =
            XS_THREE(p, 2, 5, 8, 11, 14, 0, 0, 0, 0, 1, 2, 3, 4, 9, 12, 15) - middle[2];
        const auto along = [&](const float* r) { return r[0] * x + r[1] * y + r[2] * z + r[3]; };
        const EightFloats inverse = 1.0f / along(row[2]);
        const EightFloats u = along(row[0]) * inverse + shift_u;
        const EightFloats v = along(row[1]) * inverse + shift_v;
        // Points 0, 1, 4, 5, then 2, 3, 6, 7.
        const EightFloats pairs[2] = {__builtin_shufflevector(u, v, 0, 8, 1, 9, 4, 12, 5, 13),
                                      __builtin_shufflevector(u, v, 2, 10, 3, 11, 6, 14, 7, 15)};
        for (int half = 0; half < 2; ++half) {
            const EightFloats& one = pairs[half];
            const EightFloats first = __builtin_shufflevector(one, -one, 0, 1, 8, 9, 4, 5, 12, 13);
            const EightFloats next = __builtin_shufflevector(one, -one, 2, 3, 10, 11, 6, 7, 14, 15);
            float* to = bound + 4 * i + 8 * half;
            std::memcpy(to, &first, 16);
            std::memcpy(to + 4, &next, 16);
            std::memcpy(to + 16, reinterpret_cast<const char*>(&first) + 16, 16);
            std::memcpy(to + 20, reinterpret_cast<const char*>(&next) + 16, 16);
        }
    }
    return projection_slack(a) + static_cast<float>(error);
}

// The same point by point through float64. Points not well in front of the camera are at infinity.
float project_near(const RasterizeArgs& a, const float* point, int64_t count, float* bound) {
    const Camera& c = *a.camera;
    for (int64_t i = 0; i < count; ++i) {
        const Vec3d at = camera_from_local(c, point + 3 * i);
        const double u = (c.fx * at.x + c.skew * at.y) / at.z + c.cx - a.left - a.offset_x;
        const double v = c.fy * at.y / at.z + c.cy - a.top - a.offset_y;
        const bool in_front = raster_in_front(at) && at.z > 1e-30;
        bound[4 * i] = in_front ? static_cast<float>(u) : INFINITY;
        bound[4 * i + 1] = in_front ? static_cast<float>(v) : INFINITY;
        bound[4 * i + 2] = in_front ? static_cast<float>(-u) : INFINITY;
        bound[4 * i + 3] = in_front ? static_cast<float>(-v) : INFINITY;
    }
    return projection_slack(a);
}

inline Four load_bound(const float* bound, int64_t i) {
    Four four;
    std::memcpy(&four, bound + 4 * i, sizeof four);
    return four;
}

// A point of each of two faces.
inline EightFloats load_bounds(const float* bound, int64_t i, int64_t j) {
    return __builtin_shufflevector(load_bound(bound, i), load_bound(bound, j), 0, 1, 2, 3, 4, 5, 6,
                                   7);
}

inline EightFloats twice(Four four) {
    return __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3);
}

// Faces whose boxes hold a sample, and which of them hold one [0] or more [1].
struct Selection {
    int32_t row[kBatch + 1];
    FourInts box[kBatch + 1];  // last sample right and down, minus the first ones
    int count[2];
    int32_t member[2][kBatch + 1];
};

// Two faces at a time.
void select(const RasterizeArgs& a, const RasterScreen& s, const uint16_t* corners, int32_t first,
            int32_t last, const float* bounds, float slack, Selection& to) {
    const float width = static_cast<float>(a.width);
    const float top = static_cast<float>(s.top);
    const float bottom = static_cast<float>(s.bottom);
    const EightFloats high = twice(Four{width - 1.0f, bottom - 1.0f, 0.0f, -top});
    const EightFloats low = twice(Four{-1.0f, top - 1.0f, -width, -bottom});
    // Nothing below zero: rounding down is cutting.
    const EightFloats bias = twice(Four{1.0f, 1.0f, width, bottom});
    const EightInts whole_bias = __builtin_convertvector(bias, EightInts);
    const bool plain = s.column_x != nullptr;  // not skewed
    constexpr int64_t kSigns = static_cast<int64_t>(0x8000000080000000u);
    uint8_t single[kBatch + 1];
    int kept = 0;
    const auto keep = [&](int32_t face, const FourInts& box, int64_t extent, bool exists) {
        // Written always, and kept where it holds a sample: its extents are not below zero.
        to.row[kept] = face;
        to.box[kept] = box;
        single[kept] = static_cast<uint8_t>((extent == 0) & plain);
        kept += static_cast<int>(((extent & kSigns) == 0) & exists);
    };
    for (int32_t f = first; f < last; f += 2) {
        const int32_t g = f + 1 < last ? f + 1 : f;
        const uint16_t* k = corners + 3 * f;
        const uint16_t* m = corners + 3 * g;
        EightFloats bound = load_bounds(bounds, k[0], m[0]);
        const EightFloats second = load_bounds(bounds, k[1], m[1]);
        const EightFloats third = load_bounds(bounds, k[2], m[2]);
        bound = bound > second ? bound : second;
        bound = (bound > third ? bound : third) + slack;
        bound = bound < high ? bound : high;
        bound = bound > low ? bound : low;
        const EightInts box = __builtin_convertvector(bound + bias, EightInts) - whole_bias;
        const FourLongs extent = reinterpret_cast<FourLongs>(
            box + __builtin_shufflevector(box, box, 2, 3, 0, 1, 6, 7, 4, 5));
        keep(f, __builtin_shufflevector(box, box, 0, 1, 2, 3), extent[0], true);
        keep(g, __builtin_shufflevector(box, box, 4, 5, 6, 7), extent[2], g != f);
    }
    to.count[0] = to.count[1] = 0;
    for (int i = 0; i < kept; ++i) {
        const int which = single[i] != 0 ? 0 : 1;
        to.member[0][to.count[0]] = to.member[1][to.count[1]] = i;
        to.count[which] += 1;
    }
}

// Copies the selected faces' corners and boxes; ``near``: some points may be at infinity.
void gather(const RasterizeArgs& a, const RasterScreen& s, const float* points,
            const uint16_t* corners, const float* bounds, bool near, const Selection& from,
            int which, Batch& to) {
    to.count = 0;
    for (int j = 0; j < from.count[which]; ++j) {
        const int i = to.count;
        const int member = from.member[which][j];
        const uint16_t* k = corners + 3 * from.row[member];
        for (int c = 0; c < 3; ++c) {
            const float* at = points + 3 * k[c];
            to.corner[c][0][i] = at[0];
            to.corner[c][1][i] = at[1];
            to.corner[c][2][i] = at[2];
        }
        const FourInts box = from.box[member];
        to.box[i] = {-box[2], -box[3], box[0], box[1]};
        to.row[i] = from.row[member];
        const uint64_t* word = s.words - int64_t{box[3]} * a.width - box[2];
        __builtin_prefetch(word, 1);
        if (which == 1) {
            __builtin_prefetch(word + a.width, 1);
            if (near && (bounds[4 * k[0]] == INFINITY || bounds[4 * k[1]] == INFINITY ||
                         bounds[4 * k[2]] == INFINITY)) {
                const Vec3d corner[3] = {camera_from_local(*a.camera, points + 3 * k[0]),
                                         camera_from_local(*a.camera, points + 3 * k[1]),
                                         camera_from_local(*a.camera, points + 3 * k[2])};
                to.box[i] = raster_box(a, s.top, s.bottom, corner);
                if (to.box[i].empty()) {
                    continue;
                }
            }
        }
        ++to.count;
    }
    // Vectors of faces are filled up with faces without a sample.
    for (int i = to.count; i % 8 != 0; ++i) {
        for (auto& corner : to.corner) {
            corner[0][i] = corner[1][i] = corner[2][i] = 0.0f;
        }
    }
}

}  // namespace

// Draws the rows of the screen's band that a cluster covers.
void raster_cluster(const RasterizeArgs& a, const RasterScreen& s, int32_t cluster, float* bounds) {
    const int64_t start = a.cluster_start[cluster];
    const int64_t point = a.point_start[cluster];
    const int32_t faces = static_cast<int32_t>(a.cluster_start[cluster + 1] - start);
    const uint16_t* corners = a.corners + 3 * start;
    const int32_t* ids = a.face_ids + start;
    const float* points = a.points + 3 * point;
    const int64_t count = a.point_start[cluster + 1] - point;
    float slack = project(a, a.cluster_box + 6 * int64_t{cluster}, points, count, bounds);
    const bool near = slack == INFINITY;
    if (near) {
        slack = project_near(a, points, count, bounds);
    }
    for (int32_t first = 0; first < faces; first += kBatch) {
        const int32_t last = faces < first + kBatch ? faces : first + kBatch;
        Selection selection;
        select(a, s, corners, first, last, bounds, slack, selection);
        Batch batch;
        for (int which = 0; which < 2; ++which) {
            gather(a, s, points, corners, bounds, near, selection, which, batch);
            prepare(*a.camera, batch);
            if (which == 0) {
                draw_singles(a, s, ids, batch);
            } else {
                draw_boxes(a, s, ids, batch);
            }
        }
    }
}

}  // namespace XS_ISA
}  // namespace xs
