// rasterize on the CPU: bands of the picture over threads, hidden clusters left out.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "isa.h"
#include "launcher.h"
#include "parallel_cpu.h"
#include "rasterize/passes.h"
#include "rasterize/views.h"

namespace xs {

// Draws the rows of the screen's band that a cluster covers; room for 4 floats a point and 28 more
// is lent.
XS_DECLARE_SIMD(void raster_cluster(const RasterizeArgs&, const RasterScreen&, int32_t, float*))

namespace {

constexpr int32_t kBandRows = 32;        // least rows of a band
constexpr int32_t kBandsPerThread = 4;   // so that the threads end together
constexpr double kDeep = 1.0;            // faces a sample from which hidden clusters are looked for
constexpr int64_t kKeptWords = 1 << 23;  // words kept between calls, 64 MB

// Bands of equal height, whole tiles of the coarse depths.
struct Bands {
    int32_t count, rows;
    explicit Bands(const RasterizeArgs& a) {
        const int threads = omp_get_max_threads();
        const int32_t most = threads == 1 ? 1 : kBandsPerThread * threads;
        count = std::max(1, std::min(most, a.height / kBandRows));
        rows = ((a.height + count - 1) / count + kTile - 1) / kTile * kTile;
        count = (a.height + rows - 1) / rows;
    }
};

// Facts about every cluster.
std::vector<ClusterView> view_clusters(const RasterizeArgs& a) {
    RasterPlane planes[kRasterPlanes];
    raster_frustum(a, planes);
    std::vector<ClusterView> views(a.clusters);
    parallel_ranges(a.clusters, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
            views[k] = view_of_box(a, planes, a.cluster_box + 6 * k);
        }
    });
    return views;
}

// The clusters that each band may see, in order.
std::vector<std::vector<int32_t>> clusters_of_bands(const std::vector<ClusterView>& views,
                                                    const Bands& bands) {
    std::vector<std::vector<int32_t>> lists(bands.count);
    for (int32_t k = 0; k < static_cast<int32_t>(views.size()); ++k) {
        if (views[k].seen) {
            const int32_t last = views[k].row_last / bands.rows;
            for (int32_t band = views[k].row_first / bands.rows; band <= last; ++band) {
                lists[band].push_back(k);
            }
        }
    }
    return lists;
}

void draw_pinhole(const RasterizeArgs& a, uint64_t* words) {
    std::vector<double> column_x(a.width);
    std::vector<double> row_y(a.height);
    for (int32_t x = 0; x < a.width; ++x) {
        column_x[x] = pinhole_ray(*a.camera, a.left + x + a.offset_x, 0.0).x;
    }
    for (int32_t y = 0; y < a.height; ++y) {
        row_y[y] = pinhole_ray(*a.camera, 0.0, a.top + y + a.offset_y).y;
    }
    const bool skewed = a.camera->skew != 0.0;
    const Bands bands(a);
    const std::vector<ClusterView> views = view_clusters(a);
    std::vector<std::vector<int32_t>> lists = clusters_of_bands(views, bands);
    // With more faces than samples many lie behind others: near ones first, and hidden clusters
    // are not drawn.
    size_t listed = 0;
    for (const std::vector<int32_t>& list : lists) {
        listed += list.size();
    }
    const double faces = a.cluster_start[a.clusters] / std::max(1.0, 1.0 * a.clusters);
    const bool deep = faces * listed > kDeep * a.width * a.height;
    CoarseDepth coarse(a, words);
    // The longest first: the last one to end should be short.
    std::vector<int32_t> order(bands.count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t one, int32_t other) {
        return lists[one].size() > lists[other].size();
    });
    const auto draw = XS_PICK(raster_cluster);
    parallel_for(bands.count, [&](int64_t i) {
        static thread_local std::vector<float> memory;  // kept between calls
        const int32_t top = order[i] * bands.rows;
        const RasterScreen screen{skewed ? nullptr : column_x.data(), row_y.data(), words, top,
                                  std::min(top + bands.rows, a.height)};
        std::vector<int32_t>& list = lists[order[i]];
        if (deep) {
            sort_by_depth(views, list);
        }
        for (const int32_t k : list) {
            if (deep && coarse.hides(views[k], screen.top, screen.bottom)) {
                continue;
            }
            const size_t needed =
                4 * static_cast<size_t>(a.point_start[k + 1] - a.point_start[k] + 7);
            if (memory.size() < needed) {
                memory.resize(needed);
            }
            draw(a, screen, k, memory.data());
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
    if (is_pinhole(*a.camera)) {
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

int64_t rasterize_scratch(const RasterizeArgs& args) {
    return RasterItemsMemory(args).total();
}

void rasterize_emulated(const RasterizeArgs& args) {
    raster_passes(HostLauncher(), args);
}

}  // namespace xs
