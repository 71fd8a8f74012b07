#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/rasterize.h"
#include "parallel_cpu.h"

namespace xs {

namespace {

struct PixelBox {
    int x0, y0, x1, y1;  // first and one past the last pixel of the rectangle
    bool empty() const { return x0 >= x1 || y0 >= y1; }
};

// Pixels of the rectangle whose sample may lie in the hull of camera-space points, one pixel wider
// than needed; the whole rectangle where a point is not safely in front of the camera.
class Screen {
  public:
    explicit Screen(const RasterizeArgs& a) : a_(a), c_(a.camera) {}

    PixelBox box(const Vec3d* points, int count) const {
        double u0 = 1e300;
        double v0 = 1e300;
        double u1 = -1e300;
        double v1 = -1e300;
        int behind = 0;
        bool unsafe = false;
        for (int i = 0; i < count; ++i) {
            const Vec3d& p = points[i];
            behind += p.z <= 0.0;
            if (!(p.z > 1e-9 * (std::abs(p.x) + std::abs(p.y)))) {
                unsafe = true;
                continue;
            }
            const double v = c_[13] * p.y / p.z;
            const double u = c_[12] * p.x / p.z + c_[16] * p.y / p.z;
            u0 = std::min(u0, u);
            u1 = std::max(u1, u);
            v0 = std::min(v0, v);
            v1 = std::max(v1, v);
        }
        if (behind == count) {
            return {0, 0, 0, 0};
        }
        if (unsafe) {
            return {0, 0, a_.width, a_.height};
        }
        return {first(u0 + c_[14] - a_.left - a_.offset_x, a_.width),
                first(v0 + c_[15] - a_.top - a_.offset_y, a_.height),
                last(u1 + c_[14] - a_.left - a_.offset_x, a_.width),
                last(v1 + c_[15] - a_.top - a_.offset_y, a_.height)};
    }

  private:
    // Sample k lies at k; a box from x holds samples from ceil(x). The slack covers the rounding of
    // the projection, which the exact test below does not share.
    static int first(double x, int size) {
        return static_cast<int>(std::ceil(std::clamp(x - 1e-4, -1.0, size + 1.0)) < 0
                                    ? 0
                                    : std::ceil(std::clamp(x - 1e-4, -1.0, size + 1.0)));
    }
    static int last(double x, int size) {
        const double bound = std::floor(std::clamp(x + 1e-4, -2.0, size + 1.0)) + 1.0;
        return static_cast<int>(std::clamp(bound, 0.0, static_cast<double>(size)));
    }

    const RasterizeArgs& a_;
    const double* c_;
};

void draw_face(const RasterizeArgs& a, const Vec3d* corner, int32_t id, const PixelBox& box) {
    const RasterFace face = raster_face(corner[0], corner[1], corner[2]);
    if (!face.valid) {
        return;
    }
    const double near = a.camera[17];
    for (int y = box.y0; y < box.y1; ++y) {
        for (int x = box.x0; x < box.x1; ++x) {
            const Vec3d ray = camera_ray(a.camera, a.left + x + a.offset_x, a.top + y + a.offset_y);
            const double z = raster_hit(face, ray);
            if (!(z > near) || z == 0.0) {
                continue;
            }
            const float depth = static_cast<float>(z);
            const int64_t at = static_cast<int64_t>(y) * a.width + x;
            if (depth < a.depth[at] || (depth == a.depth[at] && id < a.face_id[at])) {
                a.depth[at] = depth;
                a.face_id[at] = id;
            }
        }
    }
}

}  // namespace

void rasterize_cpu(const RasterizeArgs& a) {
    const Screen screen(a);
    // Clusters seen, with the rows of the rectangle they may touch.
    std::vector<PixelBox> boxes(a.clusters);
    parallel_ranges(a.clusters, 256, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
            const float* b = a.cluster_box + 6 * k;
            Vec3d corners[8];
            for (int i = 0; i < 8; ++i) {
                const float p[3] = {i & 1 ? b[3] : b[0], i & 2 ? b[4] : b[1], i & 4 ? b[5] : b[2]};
                corners[i] = camera_from_local(a.camera, p);
            }
            boxes[k] = screen.box(corners, 8);
        }
    });
    // A band of rows belongs to one thread: no atomics, and the result does not depend on threads.
    const int band = std::max(16, std::min(64, a.height / 16));
    const int64_t bands = (a.height + band - 1) / band;
    parallel_for(bands, [&](int64_t index) {
        const int top = static_cast<int>(index) * band;
        const int bottom = std::min(a.height, top + band);
        const int64_t from = static_cast<int64_t>(top) * a.width;
        const int64_t to = static_cast<int64_t>(bottom) * a.width;
        std::fill(a.face_id + from, a.face_id + to, -1);
        std::fill(a.depth + from, a.depth + to, std::numeric_limits<float>::infinity());
        for (int32_t k = 0; k < a.clusters; ++k) {
            if (boxes[k].empty() || boxes[k].y1 <= top || boxes[k].y0 >= bottom) {
                continue;
            }
            for (int32_t f = a.cluster_start[k]; f < a.cluster_start[k + 1]; ++f) {
                Vec3d corner[3];
                for (int i = 0; i < 3; ++i) {
                    const int64_t vertex = a.faces[3 * static_cast<int64_t>(f) + i];
                    corner[i] = camera_from_local(a.camera, a.vertices + 3 * vertex);
                }
                PixelBox box = screen.box(corner, 3);
                box.y0 = std::max(box.y0, top);
                box.y1 = std::min(box.y1, bottom);
                if (!box.empty()) {
                    draw_face(a, corner, a.face_ids[f], box);
                }
            }
        }
    });
}

}  // namespace xs
