#include "ops/rasterize_draw.h"

namespace xs {
namespace XS_ISA {

namespace {

// A cluster's points in camera space, and (u, v, -u, -v) of each as float32: the largest of a
// face's corners are its bounds. Points not well in front of the camera are at infinity.
void project(const RasterizeArgs& a, const float* point, int64_t count, const RasterScratch& to) {
    const double* c = a.camera;
    const Quad column0 = {c[0], c[3], c[6], 0.0};
    const Quad column1 = {c[1], c[4], c[7], 0.0};
    const Quad column2 = {c[2], c[5], c[8], 0.0};
    const Quad column3 = {c[9], c[10], c[11], 0.0};
    const float fx = static_cast<float>(c[12]);
    const float fy = static_cast<float>(c[13]);
    const float skew = static_cast<float>(c[16]);
    const float shift_u = static_cast<float>(c[14] - a.left - a.offset_x);
    const float shift_v = static_cast<float>(c[15] - a.top - a.offset_y);
    for (int64_t i = 0; i < count; ++i) {
        // camera_from_local, three rows at once.
        const double px = point[3 * i];
        const double py = point[3 * i + 1];
        const double pz = point[3 * i + 2];
        const Quad at = column0 * px + column1 * py + column2 * pz + column3;
        std::memcpy(to.at + 4 * i, &at, sizeof at);
        const float x = static_cast<float>(at[0]);
        const float y = static_cast<float>(at[1]);
        const float z = static_cast<float>(at[2]);
        const float inverse = 1.0f / z;
        const float u = (fx * x + skew * y) * inverse + shift_u;
        const float v = fy * y * inverse + shift_v;
        Four bound = {u, v, -u, -v};
        if (!(raster_in_front({at[0], at[1], at[2]}) && z > 1e-30f)) {
            bound = Four{INFINITY, INFINITY, INFINITY, INFINITY};
        }
        std::memcpy(to.bound + 4 * i, &bound, sizeof bound);
    }
}

inline Four load_bound(const RasterScratch& from, int64_t i) {
    Four bound;
    std::memcpy(&bound, from.bound + 4 * i, sizeof bound);
    return bound;
}

inline Four larger(Four a, Four b) {
    return a > b ? a : b;
}

// Faces whose boxes hold a sample: [0] those of one sample, [1] the others.
struct Selection {
    int count[2] = {0, 0};
    int32_t row[2][kBatch + 1];
    FourInts box[2][kBatch + 1];  // last sample right and down, minus the first ones
};

void select(const RasterizeArgs& a, const RasterScreen& s, const uint16_t* corners, int32_t first,
            int32_t last, const RasterScratch& scratch, Selection& to) {
    const float width = static_cast<float>(a.width);
    const float top = static_cast<float>(s.top);
    const float bottom = static_cast<float>(s.bottom);
    // Covers the rounding in project().
    const double size =
        std::fabs(a.camera[14] - a.left) + std::fabs(a.camera[15] - a.top) + a.width + a.height;
    const float slack = static_cast<float>(1e-4 + 1e-6 * size);
    const Four high = {width - 1.0f, bottom - 1.0f, 0.0f, -top};
    const Four low = {-1.0f, top - 1.0f, -width, -bottom};
    const Four bias = {1.0f, 1.0f, width, bottom};  // nothing below zero: rounding down is cutting
    const FourInts whole_bias = __builtin_convertvector(bias, FourInts);
    const bool skewed = s.column_x == nullptr;
    int singles = 0;
    int others = 0;
    for (int32_t f = first; f < last; ++f) {
        const uint16_t* k = corners + 3 * f;
        Four bound = larger(load_bound(scratch, k[0]), load_bound(scratch, k[1]));
        bound = larger(bound, load_bound(scratch, k[2])) + slack;
        bound = bound < high ? bound : high;
        bound = bound > low ? bound : low;
        const FourInts box = __builtin_convertvector(bound + bias, FourInts) - whole_bias;
        const int32_t extent = (box[0] + box[2]) | (box[1] + box[3]);
        const bool single = (extent == 0) & !skewed;
        // Written to both lists, and kept in one at most.
        to.row[0][singles] = to.row[1][others] = f;
        to.box[0][singles] = to.box[1][others] = box;
        singles += static_cast<int>(single);
        others += static_cast<int>((extent >= 0) & !single);
    }
    to.count[0] = singles;
    to.count[1] = others;
}

// Copies the selected faces' corners and boxes.
void gather(const RasterizeArgs& a, const RasterScreen& s, const uint16_t* corners,
            const RasterScratch& scratch, const Selection& from, int which, Batch& to) {
    to.count = 0;
    for (int j = 0; j < from.count[which]; ++j) {
        const int i = to.count;
        const uint16_t* k = corners + 3 * from.row[which][j];
        for (int c = 0; c < 3; ++c) {
            const double* at = scratch.at + 4 * k[c];
            to.corner[c][0][i] = at[0];
            to.corner[c][1][i] = at[1];
            to.corner[c][2][i] = at[2];
        }
        const FourInts box = from.box[which][j];
        to.box[i] = {-box[2], -box[3], box[0], box[1]};
        to.row[i] = from.row[which][j];
        const uint64_t* word = s.words - int64_t{box[3]} * a.width - box[2];
        __builtin_prefetch(word, 1);
        if (which == 1) {
            __builtin_prefetch(word + a.width, 1);
            if (scratch.bound[4 * k[0]] == INFINITY || scratch.bound[4 * k[1]] == INFINITY ||
                scratch.bound[4 * k[2]] == INFINITY) {
                const Vec3d corner[3] = {to.at(to.corner, 0, i), to.at(to.corner, 1, i),
                                         to.at(to.corner, 2, i)};
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
            corner[0][i] = corner[1][i] = corner[2][i] = 0.0;
        }
    }
}

}  // namespace

// Draws the rows of the screen's band that a cluster covers.
void raster_cluster(const RasterizeArgs& a, const RasterScreen& s, int32_t cluster,
                    const RasterScratch& scratch) {
    const int64_t start = a.cluster_start[cluster];
    const int64_t point = a.point_start[cluster];
    const int32_t faces = static_cast<int32_t>(a.cluster_start[cluster + 1] - start);
    const uint16_t* corners = a.corners + 3 * start;
    const int32_t* ids = a.face_ids + start;
    project(a, a.points + 3 * point, a.point_start[cluster + 1] - point, scratch);
    for (int32_t first = 0; first < faces; first += kBatch) {
        const int32_t last = faces < first + kBatch ? faces : first + kBatch;
        Selection selection;
        select(a, s, corners, first, last, scratch, selection);
        Batch batch;
        for (int which = 0; which < 2; ++which) {
            gather(a, s, corners, scratch, selection, which, batch);
            prepare(batch);
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
