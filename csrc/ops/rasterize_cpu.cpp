#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "isa.h"
#include "ops/rasterize_box.h"
#include "parallel_cpu.h"

namespace xs {

XS_DECLARE_SIMD(void raster_cluster(const RasterizeArgs&, const RasterScreen&, int32_t,
                                    const RasterScratch&))

namespace {

constexpr int32_t kBandRows = 32;        // least rows of a band
constexpr int32_t kBandsPerThread = 4;   // so that the threads end together
constexpr int64_t kKeptWords = 1 << 23;  // words kept between calls, 64 MB

// First and last band that a cluster may have samples in; first > last where it has none.
struct BandRange {
    int32_t first, last;
};

// Bands of equal height.
struct Bands {
    int32_t count, rows;
    explicit Bands(const RasterizeArgs& a) {
        const int threads = omp_get_max_threads();
        const int32_t most = threads == 1 ? 1 : kBandsPerThread * threads;
        count = std::max(1, std::min(most, a.height / kBandRows));
        rows = (a.height + count - 1) / count;
        count = (a.height + rows - 1) / rows;
    }
};

// Bands of the rows that the box of a cluster covers; all of them where it reaches behind the
// camera.
BandRange bands_of_box(const RasterizeArgs& a, const Bands& bands, const float* box) {
    const double* c = a.camera;
    double low = INFINITY;
    double high = -INFINITY;
    for (int corner = 0; corner < 8; ++corner) {
        const float p[3] = {box[corner & 1 ? 3 : 0], box[corner & 2 ? 4 : 1],
                            box[corner & 4 ? 5 : 2]};
        const Vec3d at = camera_from_local(c, p);
        if (!(at.z > 1e-6 * (std::abs(at.x) + std::abs(at.y)))) {
            return {0, bands.count - 1};
        }
        const double v = c[13] * at.y / at.z + c[15] - a.top - a.offset_y;
        low = std::min(low, v);
        high = std::max(high, v);
    }
    const double slack = 1.0 + 1e-6 * (std::abs(low) + std::abs(high));
    const auto band = [&](double v) {
        return static_cast<int32_t>(std::min(std::max(v, 0.0), a.height - 1.0)) / bands.rows;
    };
    return {band(low - slack), band(high + slack)};
}

// The clusters that each band may see, in order.
std::vector<std::vector<int32_t>> visible_clusters(const RasterizeArgs& a, const Bands& bands) {
    RasterPlane planes[kRasterPlanes];
    raster_frustum(a, planes);
    std::vector<BandRange> range(a.clusters);
    parallel_ranges(a.clusters, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
            const float* box = a.cluster_box + 6 * k;
            const bool seen = !raster_excludes(planes, box);
            range[k] = !seen              ? BandRange{0, -1}
                       : bands.count == 1 ? BandRange{0, 0}
                                          : bands_of_box(a, bands, box);
        }
    });
    std::vector<std::vector<int32_t>> lists(bands.count);
    for (int32_t k = 0; k < a.clusters; ++k) {
        for (int32_t band = range[k].first; band <= range[k].last; ++band) {
            lists[band].push_back(k);
        }
    }
    return lists;
}

// One thread's working memory, kept between calls.
class ClusterMemory {
  public:
    RasterScratch get(int64_t points) {
        at_.resize(std::max<size_t>(at_.size(), 4 * points));
        bound_.resize(std::max<size_t>(bound_.size(), 4 * points));
        return {at_.data(), bound_.data()};
    }

  private:
    std::vector<double> at_;
    std::vector<float> bound_;
};

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
    const Bands bands(a);
    const std::vector<std::vector<int32_t>> lists = visible_clusters(a, bands);
    // The longest first: the last one to end should be short.
    std::vector<int32_t> order(bands.count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t one, int32_t other) {
        return lists[one].size() > lists[other].size();
    });
    const auto draw = XS_PICK(raster_cluster);
    parallel_for(bands.count, [&](int64_t i) {
        static thread_local ClusterMemory memory;
        const int32_t top = order[i] * bands.rows;
        const RasterScreen screen{skewed ? nullptr : column_x.data(), row_y.data(), words, top,
                                  std::min(top + bands.rows, a.height)};
        for (const int32_t k : lists[order[i]]) {
            draw(a, screen, k, memory.get(a.point_start[k + 1] - a.point_start[k]));
        }
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
    parallel_ranges(pixels, 1 << 15, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            a.face_id[i] = static_cast<int32_t>(word[i] & 0xffffffffu);
        }
        for (int64_t i = begin; a.depth != nullptr && i < end; ++i) {
            const uint32_t bits = static_cast<uint32_t>(word[i] >> 32);
            std::memcpy(a.depth + i, &bits, sizeof bits);
        }
    });
    if (static_cast<int64_t>(words.size()) > kKeptWords) {
        std::vector<uint64_t>().swap(words);
    }
}

}  // namespace xs
