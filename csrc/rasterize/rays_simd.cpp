// rasterize for bending lenses: tree and faces, compiled once for each instruction set.
#include "rasterize/rays.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int kBlock = 128;  // faces prepared at a time

// Faces in camera space, one array a number, so that loops over them become vectors.
struct Faces {
    int count;
    double normal[3][3][kBlock];  // [edge][axis]
    double det[kBlock];
    int32_t id[kBlock];
};

void prepare(const RasterizeArgs& a, int32_t cluster, int64_t first, int64_t last, Faces* out) {
    out->count = 0;
    for (int64_t row = first; row < last; ++row) {
        Vec3d corner[3];
        raster_corners(a, cluster, row, corner);
        const RasterFace face = raster_face(corner[0], corner[1], corner[2]);
        if (!face.valid) {
            continue;
        }
        const Vec3d normal[3] = {face.n0, face.n1, face.n2};
        for (int e = 0; e < 3; ++e) {
            out->normal[e][0][out->count] = normal[e].x;
            out->normal[e][1][out->count] = normal[e].y;
            out->normal[e][2][out->count] = normal[e].z;
        }
        out->det[out->count] = face.det;
        out->id[out->count] = a.face_ids[row];
        ++out->count;
    }
}

inline double most(double a, double b) {
    return a > b ? a : b;
}

// Whether a face may own a pixel of a block (rasterize_rays.h says why this is exact).
inline bool may_meet(const Faces& faces, int f, const RayNode& node) {
    double least = 1.0;
    for (int e = 0; e < 3; ++e) {
        const double x = faces.normal[e][0][f];
        const double y = faces.normal[e][1][f];
        const double z = faces.normal[e][2][f];
        const double bound = most(x * node.low[0], x * node.high[0]) +
                             most(y * node.low[1], y * node.high[1]) +
                             most(z * node.low[2], z * node.high[2]);
        least = bound < least ? bound : least;
    }
    return !(least < 0.0);
}

struct Target {
    const RasterizeArgs& a;
    const RayTree& tree;
    uint64_t* words;
};

void draw_leaf(const Target& to, const Faces& faces, const uint8_t* list, int count, int32_t x,
               int32_t y) {
    const int64_t leaf = static_cast<int64_t>(y) * to.tree.columns[0] + x;
    const double* rx = to.tree.rays + leaf * 3 * kRayPixels;
    const double* ry = rx + kRayPixels;
    const double* rz = ry + kRayPixels;
    const double near = raster_near(*to.a.camera);
    uint64_t* const corner =
        to.words + static_cast<int64_t>(y) * kRayEdge * to.a.width + x * kRayEdge;
    for (int i = 0; i < count; ++i) {
        const int f = list[i];
        Vec3d n[3];
        for (int e = 0; e < 3; ++e) {
            n[e] = {faces.normal[e][0][f], faces.normal[e][1][f], faces.normal[e][2][f]};
        }
        // raster_hit for all pixels at once: what lies on an edge is left for raster_hit itself.
        double sum[kRayPixels];
        double least[kRayPixels];
        for (int k = 0; k < kRayPixels; ++k) {
            const double e0 = rx[k] * n[0].x + ry[k] * n[0].y + rz[k] * n[0].z;
            const double e1 = rx[k] * n[1].x + ry[k] * n[1].y + rz[k] * n[1].z;
            const double e2 = rx[k] * n[2].x + ry[k] * n[2].y + rz[k] * n[2].z;
            sum[k] = e0 + e1 + e2;
            const double lesser = e0 < e1 ? e0 : e1;
            least[k] = lesser < e2 ? lesser : e2;
        }
        for (int k = 0; k < kRayPixels; ++k) {
            if (!(least[k] >= 0.0 && sum[k] > 0.0)) {
                continue;
            }
            double t = faces.det[f] / sum[k];
            if (least[k] == 0.0) {
                t = raster_hit({n[0], n[1], n[2], faces.det[f], true}, {rx[k], ry[k], rz[k]}, near);
            }
            if (raster_counts(t, near)) {
                raster_store(
                    corner + static_cast<int64_t>(k / kRayEdge) * to.a.width + k % kRayEdge, t,
                    faces.id[f]);
            }
        }
    }
}

void draw_block(const Target& to, const Faces& faces, const uint8_t* list, int count, int level,
                int32_t x, int32_t y) {
    const RayNode& node = to.tree.at(level, x, y);
    if (node.empty()) {
        return;
    }
    uint8_t kept[kBlock];
    int left = 0;
    for (int i = 0; i < count; ++i) {
        kept[left] = list[i];
        left += may_meet(faces, list[i], node);
    }
    if (left == 0) {
        return;
    }
    if (level == 0) {
        draw_leaf(to, faces, kept, left, x, y);
        return;
    }
    for (int k = 0; k < 4; ++k) {
        const int32_t child_x = 2 * x + k % 2;
        const int32_t child_y = 2 * y + k / 2;
        if (child_x < to.tree.columns[level - 1] && child_y < to.tree.rows[level - 1]) {
            draw_block(to, faces, kept, left, level - 1, child_x, child_y);
        }
    }
}

}  // namespace

// Draws clusters into blocks; items of one cluster follow each other.
void raster_ray_items(const RasterizeArgs& a, const RayTree& tree, uint64_t* words,
                      const RayItem* items, int64_t count) {
    const Target to{a, tree, words};
    uint8_t all[kBlock];
    for (int i = 0; i < kBlock; ++i) {
        all[i] = static_cast<uint8_t>(i);
    }
    for (int64_t i = 0; i < count;) {
        const int32_t cluster = items[i].cluster;
        int64_t end = i;
        while (end < count && items[end].cluster == cluster) {
            ++end;
        }
        const int64_t last = a.cluster_start[cluster + 1];
        for (int64_t first = a.cluster_start[cluster]; first < last; first += kBlock) {
            Faces faces;
            prepare(a, cluster, first, last < first + kBlock ? last : first + kBlock, &faces);
            for (int64_t k = i; k < end; ++k) {
                draw_block(to, faces, all, faces.count, items[k].level, items[k].x, items[k].y);
            }
        }
        i = end;
    }
}

}  // namespace XS_ISA
}  // namespace xs
