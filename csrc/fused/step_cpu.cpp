// fused_step on the CPU: pieces of rays over threads, then the touched rows of every level; and the
// device's passes on the host.
#include <chrono>
#include <cmath>
#include <cstring>

#include "adam/touches.h"
#include "encode/ranges.h"
#include "fused/step.h"
#include "fused/step_block.h"
#include "interpolate/interpolate.h"
#include "launcher.h"
#include "shade/film.h"
#include "shade/pieces.h"
#include "shade/relu.h"

namespace xs {

static double now() {
    using Clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

// Values of the rays that later parts need.
struct RayBuffers {
    int64_t rays;      // places of every array: the number of rays, padded
    float* position;   // [rays, 3] in the unit cube
    float* footprint;  // [rays] in its lengths
    float* direction;  // [rays, 3]
    float* depth;      // [rays]
    float* grad;       // [levels, rays, width] of the features
};

static RayBuffers ray_buffers(const FusedStepArgs& a) {
    static thread_local ShadeBuffer memory;
    const int64_t rays = (a.rays + 15) / 16 * 16;
    float* next = memory.get(rays * (8 + static_cast<int64_t>(a.grid.levels) * a.grid.width));
    return {rays, next, next + 3 * rays, next + 4 * rays, next + 7 * rays, next + 8 * rays};
}

// Rays [begin, end) from face ids to points of the unit cube.
static void find_points(const FusedStepArgs& a, const RayBuffers& b, int64_t begin, int64_t end) {
    InterpolateArgs args{};
    args.points = a.points;
    args.n = a.rays;
    args.position = b.position;
    args.direction = b.direction;
    args.footprint = b.footprint;
    args.depth = b.depth;
    XS_PICK(interpolate_chunk)(args, begin, end);
    for (int64_t i = begin; i < end; ++i) {
        for (int axis = 0; axis < 3; ++axis) {
            float& x = b.position[3 * i + axis];
            x = (x - a.centre[axis]) * a.unit[axis] + 0.5f;
        }
        b.footprint[i] *= a.footprint_unit;
        if (a.turn != nullptr) {
            step_turn(a.turn + 3 * i, b.direction + 3 * i);
        }
    }
}

// A piece's gradients [rays, levels * width] to the arrays of the levels.
static void split_levels(const FusedStepArgs& a, const RayBuffers& b, const float* grad,
                         int64_t begin, int64_t end) {
    const int64_t stride = static_cast<int64_t>(a.grid.levels) * a.grid.width;
    for (int32_t l = 0; l < a.grid.levels; ++l) {
        float* to = b.grad + (l * b.rays + begin) * a.grid.width;
        for (int64_t r = 0; r < end - begin; ++r) {
            std::memcpy(to + r * a.grid.width, grad + r * stride + l * a.grid.width,
                        a.grid.width * sizeof(float));
        }
    }
}

static EncodeArgs encode_args(const FusedStepArgs& a, const RayBuffers& b) {
    EncodeArgs points{};
    points.grid = a.grid;
    points.position = b.position;
    points.footprint = a.grid.footprint_scale > 0.0f ? b.footprint : nullptr;
    points.points = a.rays;
    return points;
}

// All rays from face id to the gradient of their features; run(ShadeChunk, scratch, gradient) is
// the shader's chunk function, and finish takes the sum of its gradients.
template <class Run, class Finish>
static void shade_rays(const FusedStepArgs& a, const EncodeArgs& points, const EncodeGrid& grid,
                       const RayBuffers& b, int64_t exposure_width, int64_t scratch_size,
                       int64_t gradient_size, const Run& run, const Finish& finish) {
    const int64_t channels = static_cast<int64_t>(a.grid.levels) * a.grid.width;
    const int64_t piece_rays = shade_piece_rays(a.rays);
    std::vector<double> loss((a.rays + piece_rays - 1) / piece_rays);
    std::vector<double> error(loss.size());
    std::vector<double> seconds(3 * loss.size());
    const double start = now();
    const auto encode = XS_PICK(encode_forward_chunk);
    shade_pieces(
        a.rays, a.shade.photos, a.points.camera_index, exposure_width, a.shade.grad_exposure,
        gradient_size,
        [&](const ShadePiece& piece) {
            static thread_local ShadeBuffer buffer;
            // Rows past the last ray exist: some chunk functions read whole vectors of rays.
            const int64_t rows = piece_rays + kShadeRays;
            float* features = buffer.get(rows * (2 * channels + 7) + scratch_size);
            float* grad = features + rows * channels;
            float* target = grad + rows * channels;
            float* rgb = target + 3 * rows;
            float* ray_loss = rgb + 3 * rows;
            float* scratch = ray_loss + rows;
            double* spent = seconds.data() + 3 * (piece.begin / piece_rays);
            spent[0] = -now();
            find_points(a, b, piece.begin, piece.end);
            spent[0] += now();
            spent[1] = -now();
            encode(points, grid, piece.begin, piece.end, features);
            spent[1] += now();
            spent[2] = -now();
            for (int64_t i = 0; i < 3 * (piece.end - piece.begin); ++i) {
                target[i] = static_cast<float>(a.target[3 * piece.begin + i]) / a.target_range;
            }
            for (int64_t r = piece.begin; r < piece.end; r += kShadeRays) {
                const int64_t at = r - piece.begin;
                ShadeChunk chunk{};
                chunk.rays = static_cast<int32_t>(std::min<int64_t>(piece.end - r, kShadeRays));
                chunk.features = features + at * channels;
                chunk.direction = b.direction + 3 * r;
                chunk.exposure = a.shade.exposure;
                chunk.photo = a.shade.exposure == nullptr ? nullptr : a.points.camera_index + r;
                chunk.rgb = rgb + 3 * at;
                chunk.loss = a.shade.loss;
                chunk.target = target + 3 * at;
                chunk.scale = 1.0f / static_cast<float>(a.rays);
                chunk.ray_loss = ray_loss + at;
                chunk.grad_features = grad + at * channels;
                chunk.slot = piece.slot == nullptr ? nullptr : piece.slot + at;
                chunk.grad_exposure = piece.grad_exposure;
                run(chunk, scratch, piece.gradient);
            }
            split_levels(a, b, grad, piece.begin, piece.end);
            double& losses = loss[piece.begin / piece_rays];
            double& errors = error[piece.begin / piece_rays];
            for (int64_t r = 0; r < piece.end - piece.begin; ++r) {
                losses += ray_loss[r];
                for (int64_t i = 3 * r; i < 3 * r + 3; ++i) {
                    const float away = rgb[i] - target[i];
                    errors += static_cast<double>(away) * away;
                }
            }
            spent[2] += now();
        },
        finish);
    a.sums[0] = a.sums[1] = 0.0;
    for (size_t piece = 0; piece < loss.size(); ++piece) {
        a.sums[0] += loss[piece];
        a.sums[1] += error[piece];
    }
    // Threads' seconds, to be shares of the time that passed.
    double parts[3] = {0.0, 0.0, 0.0};
    for (size_t i = 0; i < seconds.size(); ++i) {
        parts[i % 3] += seconds[i];
    }
    const double all = parts[0] + parts[1] + parts[2];
    for (int part = 0; part < 3; ++part) {
        a.seconds[part] = all > 0.0 ? (now() - start) * parts[part] / all : 0.0;
    }
}

static void shade_with_relu(const FusedStepArgs& a, const EncodeArgs& points,
                            const EncodeGrid& grid, const RayBuffers& b) {
    static thread_local ShadeBuffer packed;
    ShadeReluNet net{a.grid.levels * a.grid.width, a.shade.hidden, a.shade.sh_degree, nullptr};
    float* buffer = packed.get(net.packed_size());
    shade_relu_pack(net, a.shade.weights, buffer);
    net.packed = buffer;
    const auto run = XS_PICK(shade_relu_chunk_gradient);
    shade_rays(
        a, points, grid, b, 12, net.scratch_size(), net.gradient_size(),
        [&](const ShadeChunk& chunk, float* scratch, float* gradient) {
            run(net, chunk, scratch, gradient);
        },
        [&](const float* gradient) {
            shade_relu_add_gradient(net, gradient, a.shade.grad_weights);
        });
}

static void shade_with_film(const FusedStepArgs& a, const EncodeArgs& points,
                            const EncodeGrid& grid, const RayBuffers& b) {
    static thread_local ShadeBuffer packed;
    ShadeFilmNet net(a.grid.levels * a.grid.width, a.shade.hidden);
    float* buffer = packed.get(net.packed_size);
    shade_film_pack(net, a.shade.weights, a.shade.light, buffer);
    net.packed = buffer;
    const auto run = XS_PICK(shade_film_chunk_gradient);
    shade_rays(
        a, points, grid, b, 2 * a.shade.hidden, net.scratch_size, net.gradient_size,
        [&](const ShadeChunk& chunk, float* scratch, float* gradient) {
            run(net, chunk, scratch, gradient);
        },
        [&](const float* gradient) {
            shade_film_add_gradient(net, a.shade.weights, a.shade.light, gradient,
                                    a.shade.grad_weights, a.shade.grad_light);
        });
}

// One thread's working memory for levels, kept between calls.
class TouchMemory {
  public:
    TouchSpace get(int64_t points, int64_t buckets) {
        constexpr int64_t kSums = 2 * kBucketRows * 8;
        constexpr int64_t kFloats = kSums + kBucketRows / 2 + kBucketRows + 16;
        if (sums_ == nullptr) {
            sums_ = small_.get(kFloats);
            std::memset(sums_, 0, kFloats * sizeof(float));
        }
        const int64_t epochs = points / (kEpochPoints / 2) + 1;
        const int64_t blocks = 8 * points / kBlockTouches + buckets * epochs + 1;
        constexpr int64_t kBlockFloats = sizeof(TouchBlock) / sizeof(float);
        float* large = large_.get(blocks * kBlockFloats + buckets * 6);
        float* lists = large + blocks * kBlockFloats;
        TouchSpace space{};
        space.sum = sums_;
        space.seen = reinterpret_cast<uint8_t*>(sums_ + kSums);
        space.list = reinterpret_cast<uint16_t*>(sums_ + kSums + kBucketRows / 2);
        space.block = reinterpret_cast<TouchBlock*>(large);
        space.next = reinterpret_cast<Touch**>(lists);
        space.end = space.next + buckets;
        space.first = reinterpret_cast<int32_t*>(space.end + buckets);
        space.last = space.first + buckets;
        return space;
    }

  private:
    ShadeBuffer small_, large_;
    float* sums_ = nullptr;
};

static void update_table(const FusedStepArgs& a, const EncodeArgs& points, const EncodeGrid& grid,
                         const RayBuffers& b) {
    AdamArgs adam = a.adam;
    adam.learning_rate *= control_rate(a.control);
    const AdamCorrections corrections = adam_corrections(a.adam.beta1, a.adam.beta2);
    const auto rows_of = XS_PICK(adam_touched_rows);
    encode_row_ranges(grid, a.grid.levels, [&](int32_t l, uint32_t begin, uint32_t end) {
        static thread_local TouchMemory memory;
        const TableUpdate update{&points, b.grad + l * b.rays * a.grid.width, &adam, corrections};
        const int64_t buckets = (end - begin + kBucketRows - 1) / kBucketRows;
        rows_of(update, grid.level[l], begin, end, memory.get(a.rays, buckets));
    });
}

void fused_step_cpu(const FusedStepArgs& a) {
    const RayBuffers b = ray_buffers(a);
    const EncodeArgs points = encode_args(a, b);
    const EncodeGrid grid = encode_checked_grid(a.grid);
    if (a.shade.light == nullptr) {
        shade_with_relu(a, points, grid, b);
    } else {
        shade_with_film(a, points, grid, b);
    }
    const double start = now();
    if (a.control != nullptr) {
        const double rays = static_cast<double>(std::max<int64_t>(a.rays, 1));
        control_decide(a.control, a.sums[0] / rays, a.sums[1] / (3.0 * rays), false, false);
    }
    // A loss that is not a number has no gradient: the table stays as it was.
    if (std::isfinite(a.sums[0])) {
        update_table(a, points, grid, b);
    }
    a.seconds[3] = now() - start;
}

void fused_step_emulated(const FusedStepArgs& a) {
    step_on(HostLauncher(), a);
}

int64_t fused_step_scratch(const FusedStepArgs& a) {
    return step_scratch_on(HostLauncher(), a);
}

}  // namespace xs
