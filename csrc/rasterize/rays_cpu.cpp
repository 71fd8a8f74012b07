// rasterize for bending lenses on the CPU: bands over threads, a tree of rays each.
#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <vector>

#include "isa.h"
#include "parallel_cpu.h"
#include "rasterize/rays.h"

namespace xs {

XS_DECLARE_SIMD(void raster_ray_items(const RasterizeArgs&, const RayTree&, uint64_t*,
                                      const RayItem*, int64_t))

namespace {

constexpr int64_t kBandPixels = 1 << 21;  // rays held at a time, 48 MB
constexpr int kWorkLevel = 4;             // blocks of 64 pixels are the largest piece of work
constexpr double kAngleSlack = 1e-9;

// Half-angle of a ball seen from the origin, as (cosine, sine); cosine 0 where it is not below 90
// degrees, because the origin lies inside.
struct Opening {
    double cosine, sine;
    static Opening of_ball(double distance, double radius) {
        const double sine = radius / distance;
        if (!(sine < 1.0)) {
            return {0.0, 1.0};
        }
        return {std::sqrt(1.0 - sine * sine), sine};
    }
};

void set_cone(RayNode* node) {
    Vec3d middle{0.5 * (node->low[0] + node->high[0]), 0.5 * (node->low[1] + node->high[1]),
                 0.5 * (node->low[2] + node->high[2])};
    const Vec3d half{node->high[0] - middle.x, node->high[1] - middle.y, node->high[2] - middle.z};
    const double distance = std::sqrt(dot(middle, middle));
    const Opening opening = Opening::of_ball(distance, std::sqrt(dot(half, half)));
    node->axis = {middle.x / distance, middle.y / distance, middle.z / distance};
    node->cosine = opening.cosine;
    node->sine = opening.sine;
}

void clear(RayNode* node) {
    std::fill(node->low, node->low + 3, INFINITY);
    std::fill(node->high, node->high + 3, -INFINITY);
}

// Rays and tree of the rectangle of `a`.
class Tree {
  public:
    explicit Tree(const RasterizeArgs& a) {
        tree_.levels = 0;
        int32_t columns = (a.width + kRayEdge - 1) / kRayEdge;
        int32_t rows = (a.height + kRayEdge - 1) / kRayEdge;
        int64_t count = 0;
        while (true) {
            tree_.columns[tree_.levels] = columns;
            tree_.rows[tree_.levels] = rows;
            count += static_cast<int64_t>(columns) * rows;
            ++tree_.levels;
            if (columns == 1 && rows == 1) {
                break;
            }
            columns = (columns + 1) / 2;
            rows = (rows + 1) / 2;
        }
        nodes_.reset(new RayNode[count]);
        const int64_t leaves = static_cast<int64_t>(tree_.columns[0]) * tree_.rows[0];
        rays_.reset(new double[leaves * 3 * kRayPixels]);
        tree_.rays = rays_.get();
        RayNode* next = nodes_.get();
        for (int level = 0; level < tree_.levels; ++level) {
            tree_.nodes[level] = next;
            next += static_cast<int64_t>(tree_.columns[level]) * tree_.rows[level];
        }
        parallel_ranges(leaves, 64, [&](int64_t begin, int64_t end) {
            for (int64_t leaf = begin; leaf < end; ++leaf) {
                fill_leaf(a, leaf);
            }
        });
        for (int level = 1; level < tree_.levels; ++level) {
            const int64_t blocks = static_cast<int64_t>(tree_.columns[level]) * tree_.rows[level];
            for (int64_t block = 0; block < blocks; ++block) {
                join(level, block);
            }
        }
    }

    const RayTree& view() const { return tree_; }

  private:
    void fill_leaf(const RasterizeArgs& a, int64_t leaf) {
        RayNode* node = tree_.nodes[0] + leaf;
        clear(node);
        const int32_t left = static_cast<int32_t>(leaf % tree_.columns[0]) * kRayEdge;
        const int32_t top = static_cast<int32_t>(leaf / tree_.columns[0]) * kRayEdge;
        double* rays = tree_.rays + leaf * 3 * kRayPixels;
        for (int k = 0; k < kRayPixels; ++k) {
            const int32_t x = left + k % kRayEdge;
            const int32_t y = top + k / kRayEdge;
            Vec3d ray{0.0, 0.0, 0.0};
            if (x < a.width && y < a.height) {
                double solid_angle;
                ray = camera_ray(*a.camera, a.left + x + a.offset_x, a.top + y + a.offset_y,
                                 &solid_angle);
            }
            const double values[3] = {ray.x, ray.y, ray.z};
            const bool there = dot(ray, ray) > 0.0;
            for (int i = 0; i < 3; ++i) {
                rays[i * kRayPixels + k] = values[i];
                if (there) {
                    node->low[i] = std::min(node->low[i], values[i]);
                    node->high[i] = std::max(node->high[i], values[i]);
                }
            }
        }
        set_cone(node);
    }

    void join(int level, int64_t block) {
        RayNode* node = tree_.nodes[level] + block;
        clear(node);
        const int32_t left = static_cast<int32_t>(block % tree_.columns[level]) * 2;
        const int32_t top = static_cast<int32_t>(block / tree_.columns[level]) * 2;
        for (int32_t y = top; y < std::min(top + 2, tree_.rows[level - 1]); ++y) {
            for (int32_t x = left; x < std::min(left + 2, tree_.columns[level - 1]); ++x) {
                const RayNode& child = tree_.at(level - 1, x, y);
                for (int i = 0; i < 3; ++i) {
                    node->low[i] = std::min(node->low[i], child.low[i]);
                    node->high[i] = std::max(node->high[i], child.high[i]);
                }
            }
        }
        set_cone(node);
    }

    RayTree tree_;
    std::unique_ptr<RayNode[]> nodes_;
    std::unique_ptr<double[]> rays_;
};

// The ball around a cluster's box, seen from the camera.
struct Ball {
    Vec3d direction;
    Opening opening;
    Ball(const RasterizeArgs& a, const float* box) {
        float middle[3];
        double radius = 0.0;
        for (int i = 0; i < 3; ++i) {
            middle[i] = 0.5f * box[i] + 0.5f * box[3 + i];
            const double half = std::max(static_cast<double>(box[3 + i]) - middle[i],
                                         static_cast<double>(middle[i]) - box[i]);
            radius += half * half;
        }
        const Vec3d centre = camera_from_local(*a.camera, middle);
        const double distance = std::sqrt(dot(centre, centre));
        // R is a rotation up to rounding; the slack covers that, and rounding of far coordinates.
        opening = Opening::of_ball(distance, std::sqrt(radius) * (1.0 + 1e-6) + 1e-9 * distance);
        direction = {centre.x / distance, centre.y / distance, centre.z / distance};
    }

    bool may_meet(const RayNode& node) const {
        if (opening.cosine == 0.0 || node.cosine == 0.0) {
            return true;
        }
        const double least = opening.cosine * node.cosine - opening.sine * node.sine;
        return !(dot(direction, node.axis) < least - kAngleSlack);
    }
};

void find_blocks(const RayTree& tree, const Ball& ball, int32_t cluster, int level, int32_t x,
                 int32_t y, std::vector<RayItem>* items) {
    const RayNode& node = tree.at(level, x, y);
    if (node.empty() || !ball.may_meet(node)) {
        return;
    }
    // Below a cluster's own size nothing is gained by asking for the whole of it.
    if (level == 0 || (level <= kWorkLevel && 2.0 * ball.opening.sine > node.sine)) {
        items->push_back({cluster, level, x, y});
        return;
    }
    for (int k = 0; k < 4; ++k) {
        const int32_t child_x = 2 * x + k % 2;
        const int32_t child_y = 2 * y + k / 2;
        if (child_x < tree.columns[level - 1] && child_y < tree.rows[level - 1]) {
            find_blocks(tree, ball, cluster, level - 1, child_x, child_y, items);
        }
    }
}

void draw_band(const RasterizeArgs& a, uint64_t* words) {
    const Tree owner(a);
    const RayTree& tree = owner.view();
    std::vector<RayItem> items;
    std::mutex lock;
    parallel_ranges(a.clusters, 1024, [&](int64_t begin, int64_t end) {
        std::vector<RayItem> found;
        for (int64_t k = begin; k < end; ++k) {
            const Ball ball(a, a.cluster_box + 6 * k);
            find_blocks(tree, ball, static_cast<int32_t>(k), tree.levels - 1, 0, 0, &found);
        }
        const std::lock_guard<std::mutex> guard(lock);
        items.insert(items.end(), found.begin(), found.end());
    });
    const auto draw = XS_PICK(raster_ray_items);
    parallel_ranges(static_cast<int64_t>(items.size()), 16, [&](int64_t begin, int64_t end) {
        draw(a, tree, words, items.data() + begin, end - begin);
    });
}

}  // namespace

void rasterize_rays_cpu(const RasterizeArgs& a, uint64_t* words) {
    const int64_t fit = std::max<int64_t>(1, kBandPixels / a.width / kRayEdge) * kRayEdge;
    for (int64_t top = 0; top < a.height; top += fit) {
        RasterizeArgs band = a;
        band.top = static_cast<int32_t>(a.top + top);
        band.height = static_cast<int32_t>(std::min<int64_t>(fit, a.height - top));
        draw_band(band, words + top * a.width);
    }
}

}  // namespace xs
