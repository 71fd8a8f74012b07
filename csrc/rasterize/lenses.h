// rasterize's pass over the pixels of a camera whose lens bends: a block takes a tile of pixels,
// finds the clusters that its rays' cone may meet, and tests each ray against those alone.
#pragma once

#include "block.h"
#include "rasterize/items.h"

namespace xs {

constexpr int kLensTile = 16;  // pixels a side: a thread each
static_assert(kLensTile * kLensTile == kBlockThreads, "a thread for each pixel of a tile");

// A tile's share of the block's memory.
struct LensMemory {
    double ray[3][kBlockThreads];    // local frame, length 1; zeros: the pixel sees nothing
    double sum[3][kBlockThreads];    // of rays: the cone's axis
    double least[kBlockThreads];     // cosine between a ray and the axis
    int32_t cluster[kBlockThreads];  // those of a piece that the cone may meet
    int32_t found;
};

inline int64_t lens_memory() {
    return (int64_t{sizeof(LensMemory)} + 15) / 16 * 4;
}

// Whether a ray from `origin` may meet a box, a little enlarged.
XS_HD inline bool item_meets(const double* origin, const double* direction, const float* box) {
    double enter = 0.0, leave = 1e300;
    for (int i = 0; i < 3; ++i) {
        const double slack = 1e-6 * (fabs(box[i]) + fabs(box[3 + i]) + fabs(origin[i])) + 1e-30;
        const double low = box[i] - slack - origin[i], high = box[3 + i] + slack - origin[i];
        if (direction[i] == 0.0) {
            if (low > 0.0 || high < 0.0) {
                return false;
            }
            continue;
        }
        const double one = low / direction[i], other = high / direction[i];
        enter = fmax(enter, fmin(one, other));
        leave = fmin(leave, fmax(one, other));
    }
    return enter <= leave * (1.0 + 1e-9);
}

// Whether a sphere may lie within an angle around an axis, as seen from the middle of both;
// `cosine` is the angle's. A little is added to the angle.
XS_HD inline bool lens_meets(const double* origin, const double* axis, double cosine,
                             const float* box) {
    double along = 0.0, square = 0.0, radius = 0.0, size = 0.0;
    for (int i = 0; i < 3; ++i) {
        const double low = box[i], high = box[3 + i];
        const double away = 0.5 * (low + high) - origin[i];
        along += away * axis[i];
        square += away * away;
        radius += 0.25 * (high - low) * (high - low);
        size += fabs(low) + fabs(high) + fabs(origin[i]);
    }
    const double distance = sqrt(square);
    radius = sqrt(radius) + 1e-6 * size;
    if (!(distance > radius)) {
        return true;
    }
    const double sine = radius / distance, cosine_of = sqrt(1.0 - sine * sine);
    if (cosine <= -cosine_of) {  // both angles together are half a turn or more
        return true;
    }
    const double both = cosine * cosine_of - sqrt(raster_most(1.0 - cosine * cosine, 0.0)) * sine;
    return along >= (both - 1e-6) * distance;
}

struct RasterLensKernel {
    RasterItems w;

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        const RasterizeArgs& a = w.a;
        const Camera& c = *a.camera;
        if (is_pinhole(c)) {
            return;
        }
        LensMemory& m = *reinterpret_cast<LensMemory*>(block.memory);
        double origin[3];
        for (int k = 0; k < 3; ++k) {
            origin[k] = -(c.rotation[k] * c.translation[0] + c.rotation[3 + k] * c.translation[1] +
                          c.rotation[6 + k] * c.translation[2]);
        }
        const int32_t columns = (a.width + kLensTile - 1) / kLensTile;
        const int64_t tiles = int64_t{columns} * ((a.height + kLensTile - 1) / kLensTile);
        for (int64_t tile = block.index; tile < tiles; tile += block.count) {
            const int32_t left = static_cast<int32_t>(tile % columns) * kLensTile;
            const int32_t top = static_cast<int32_t>(tile / columns) * kLensTile;
            find_cone(block, m, left, top);
            for (int32_t first = 0; first < a.clusters; first += kBlockThreads) {
                block.phase([&](int thread) {
                    if (thread == 0) {
                        m.found = 0;
                    }
                });
                block.phase([&](int thread) {
                    const int32_t cluster = first + thread;
                    const double axis[3] = {m.sum[0][0], m.sum[1][0], m.sum[2][0]};
                    if (cluster < a.clusters && m.least[0] <= 1.5 &&
                        lens_meets(origin, axis, m.least[0],
                                   a.cluster_box + 6 * int64_t{cluster})) {
                        m.cluster[count_up(&m.found)] = cluster;
                    }
                });
                block.phase([&](int thread) { draw(m, origin, left, top, thread); });
            }
        }
    }

  private:
    // Rays of a tile, their mean direction, and the least cosine between them and that (2: no ray).
    template <class Block>
    XS_HD void find_cone(const Block& block, LensMemory& m, int32_t left, int32_t top) const {
        const RasterizeArgs& a = w.a;
        const Camera& c = *a.camera;
        block.phase([&](int thread) {
            const int32_t x = left + thread % kLensTile, y = top + thread / kLensTile;
            Vec3d ray{0.0, 0.0, 0.0};
            if (x < a.width && y < a.height) {
                double solid_angle = 0.0;
                ray = camera_ray(c, a.left + x + a.offset_x, a.top + y + a.offset_y, &solid_angle);
            }
            const double length = sqrt(dot(ray, ray));
            for (int k = 0; k < 3; ++k) {
                const double along =
                    c.rotation[k] * ray.x + c.rotation[3 + k] * ray.y + c.rotation[6 + k] * ray.z;
                m.ray[k][thread] = length > 0.0 ? along / length : 0.0;
                m.sum[k][thread] = m.ray[k][thread];
            }
        });
        for (int half = kBlockThreads / 2; half > 0; half /= 2) {
            block.phase([&](int thread) {
                for (int k = 0; k < 3 && thread < half; ++k) {
                    m.sum[k][thread] += m.sum[k][thread + half];
                }
            });
        }
        block.phase([&](int thread) {
            if (thread > 0) {
                return;
            }
            const double length = sqrt(m.sum[0][0] * m.sum[0][0] + m.sum[1][0] * m.sum[1][0] +
                                       m.sum[2][0] * m.sum[2][0]);
            for (int k = 0; k < 3; ++k) {
                // Rays that cancel each other out: any axis does, with the angle around it.
                m.sum[k][0] = length > 1e-6 ? m.sum[k][0] / length : k == 2 ? 1.0 : 0.0;
            }
        });
        block.phase([&](int thread) {
            const double x = m.ray[0][thread], y = m.ray[1][thread], z = m.ray[2][thread];
            const bool none = x == 0.0 && y == 0.0 && z == 0.0;
            m.least[thread] = none ? 2.0 : x * m.sum[0][0] + y * m.sum[1][0] + z * m.sum[2][0];
        });
        for (int half = kBlockThreads / 2; half > 0; half /= 2) {
            block.phase([&](int thread) {
                if (thread < half) {
                    m.least[thread] = raster_least(m.least[thread], m.least[thread + half]);
                }
            });
        }
    }

    // A thread's pixel against the clusters of a piece.
    XS_HD void draw(const LensMemory& m, const double* origin, int32_t left, int32_t top,
                    int thread) const {
        const RasterizeArgs& a = w.a;
        const Camera& c = *a.camera;
        const double direction[3] = {m.ray[0][thread], m.ray[1][thread], m.ray[2][thread]};
        if (m.found == 0 || (direction[0] == 0.0 && direction[1] == 0.0 && direction[2] == 0.0)) {
            return;
        }
        const int32_t x = left + thread % kLensTile, y = top + thread / kLensTile;
        double solid_angle = 0.0;
        const Vec3d ray =
            camera_ray(c, a.left + x + a.offset_x, a.top + y + a.offset_y, &solid_angle);
        uint64_t* word = w.words + static_cast<int64_t>(y) * a.width + x;
        for (int32_t k = 0; k < m.found; ++k) {
            const int32_t cluster = m.cluster[k];
            if (!item_meets(origin, direction, a.cluster_box + 6 * int64_t{cluster})) {
                continue;
            }
            for (int64_t row = a.cluster_start[cluster]; row < a.cluster_start[cluster + 1];
                 ++row) {
                Vec3d corner[3];
                raster_corners(a, cluster, row, corner);
                const RasterFace face = raster_face(corner[0], corner[1], corner[2]);
                if (face.valid) {
                    item_store(word, raster_hit(face, ray, raster_near(c)), a.face_ids[row]);
                }
            }
        }
    }
};

}  // namespace xs
