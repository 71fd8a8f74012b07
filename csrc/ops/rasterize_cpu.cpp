#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <vector>

#include "isa.h"
#include "ops/rasterize.h"
#include "parallel_cpu.h"

namespace xs {

XS_DECLARE_SIMD(int32_t raster_faces(const RasterizeArgs&, const RasterScreen&, int64_t, int64_t,
                                     RasterLarge*))
XS_DECLARE_SIMD(void raster_large(const RasterizeArgs&, const RasterScreen&, const RasterLarge&,
                                  int32_t, int32_t))

namespace {

constexpr int32_t kStrip = 32;           // rows of a large face that are one piece of work
constexpr int64_t kKeptWords = 1 << 23;  // words kept between calls, 64 MB

// A half-space in the local frame: normal . p + distance >= 0 is inside.
struct HalfSpace {
    double normal[3];
    double distance;

    // camera_normal . x_camera >= 0, moved into the local frame.
    static HalfSpace of_camera(const double* c, const Vec3d& n, double offset) {
        HalfSpace h;
        for (int i = 0; i < 3; ++i) {
            h.normal[i] = n.x * c[i] + n.y * c[3 + i] + n.z * c[6 + i];
        }
        h.distance = n.x * c[9] + n.y * c[10] + n.z * c[11] + offset;
        return h;
    }

    // Whether a box lies outside for certain.
    bool excludes(const float* box) const {
        double nearest = distance;
        double size = std::abs(distance);
        for (int i = 0; i < 3; ++i) {
            const double best = normal[i] * (normal[i] > 0.0 ? box[3 + i] : box[i]);
            nearest += best;
            size += std::abs(normal[i]) * std::max(std::abs(static_cast<double>(box[i])),
                                                   std::abs(static_cast<double>(box[3 + i])));
        }
        return nearest < -1e-9 * size;
    }
};

// Near plane and the four sides of the rectangle's frustum, a pixel wider.
std::vector<HalfSpace> frustum(const RasterizeArgs& a) {
    const double* c = a.camera;
    const double left = a.left - 1.0;
    const double right = a.left + a.width + 1.0;
    const double top = a.top - 1.0;
    const double bottom = a.top + a.height + 1.0;
    return {HalfSpace::of_camera(c, {0.0, 0.0, 1.0}, -c[17]),
            HalfSpace::of_camera(c, {c[12], c[16], c[14] - left}, 0.0),
            HalfSpace::of_camera(c, {-c[12], -c[16], right - c[14]}, 0.0),
            HalfSpace::of_camera(c, {0.0, c[13], c[15] - top}, 0.0),
            HalfSpace::of_camera(c, {0.0, -c[13], bottom - c[15]}, 0.0)};
}

// Clusters that may be seen, in order.
std::vector<int32_t> visible_clusters(const RasterizeArgs& a) {
    const std::vector<HalfSpace> spaces = frustum(a);
    std::vector<uint8_t> seen(a.clusters);
    parallel_ranges(a.clusters, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
            const float* box = a.cluster_box + 6 * k;
            seen[k] = std::none_of(spaces.begin(), spaces.end(),
                                   [&](const HalfSpace& space) { return space.excludes(box); });
        }
    });
    std::vector<int32_t> list;
    for (int32_t k = 0; k < a.clusters; ++k) {
        if (seen[k]) {
            list.push_back(k);
        }
    }
    return list;
}

void draw_pinhole(const RasterizeArgs& a, uint64_t* words) {
    std::vector<double> column_x(a.width);
    std::vector<double> row_y(a.height);
    for (int32_t x = 0; x < a.width; ++x) {
        column_x[x] = pinhole_ray(a.camera, a.left + x + a.offset_x, 0.0).x;
    }
    for (int32_t y = 0; y < a.height; ++y) {
        row_y[y] = pinhole_ray(a.camera, 0.0, a.top + y + a.offset_y).y;
    }
    const bool skewed = a.camera[16] != 0.0;
    const RasterScreen screen{skewed ? nullptr : column_x.data(), row_y.data(), words};
    const std::vector<int32_t> visible = visible_clusters(a);
    std::vector<RasterLarge> large;
    std::mutex large_lock;
    const auto faces = XS_PICK(raster_faces);
    parallel_ranges(static_cast<int64_t>(visible.size()), 8, [&](int64_t begin, int64_t end) {
        std::vector<RasterLarge> found;
        for (int64_t i = begin; i < end; ++i) {
            const int64_t first = a.cluster_start[visible[i]];
            const int64_t last = a.cluster_start[visible[i] + 1];
            found.resize(std::max(found.size(), static_cast<size_t>(last - first)));
            const int32_t count = faces(a, screen, first, last, found.data());
            if (count > 0) {
                const std::lock_guard<std::mutex> guard(large_lock);
                large.insert(large.end(), found.begin(), found.begin() + count);
            }
        }
    });
    std::vector<std::pair<int32_t, int32_t>> strips;  // of large faces: which, and its first row
    for (size_t i = 0; i < large.size(); ++i) {
        for (int32_t top = large[i].y0; top < large[i].y1; top += kStrip) {
            strips.emplace_back(static_cast<int32_t>(i), top);
        }
    }
    const auto draw_large = XS_PICK(raster_large);
    parallel_for(static_cast<int64_t>(strips.size()), [&](int64_t i) {
        const RasterLarge& face = large[strips[i].first];
        const int32_t top = strips[i].second;
        draw_large(a, screen, face, top, std::min(face.y1, top + kStrip));
    });
}

}  // namespace

void rasterize_cpu(const RasterizeArgs& a) {
    const int64_t pixels = static_cast<int64_t>(a.width) * a.height;
    if (pixels <= 0) {
        return;
    }
    // The buffer is kept: fresh pages would cost as much as drawing.
    static thread_local std::vector<uint64_t> words;
    if (static_cast<int64_t>(words.size()) < pixels) {
        words.resize(pixels);
    }
    uint64_t* const word = words.data();
    parallel_ranges(pixels, 1 << 17, [&](int64_t begin, int64_t end) {
        std::fill(word + begin, word + end, kRasterMiss);
    });
    if (is_pinhole(a.camera)) {
        draw_pinhole(a, word);
    } else {
        rasterize_rays_cpu(a, word);
    }
    parallel_ranges(pixels, 1 << 17, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const uint32_t bits = static_cast<uint32_t>(word[i] >> 32);
            a.face_id[i] = static_cast<int32_t>(word[i] & 0xffffffffu);
            std::memcpy(a.depth + i, &bits, sizeof bits);
        }
    });
    if (static_cast<int64_t>(words.size()) > kKeptWords) {
        std::vector<uint64_t>().swap(words);
    }
}

}  // namespace xs
