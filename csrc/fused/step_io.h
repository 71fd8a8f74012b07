// Where fused_step's rays come from and their gradients go, for the shaders' device kernels.
#pragma once

#include "encode/scatter.h"
#include "fused/step.h"
#include "interpolate/interpolate.h"
#include "shade/products.h"

namespace xs {

// Beside a shader's memory, of a tile's rays: position in the unit cube and footprint.
constexpr int kStepChannels = 4;

inline EncodeArgs step_encode_args(const FusedStepArgs& a) {
    EncodeArgs points{};
    points.grid = a.grid;
    points.grad_table = a.gradient;
    points.grad_stride = a.grid.width;
    points.touched = a.touched;
    return points;
}

// Where the shader's rays come from and their gradients go (TensorIo in shade/tiles.h). The
// levels' width is looked at here: a shader for each would take minutes to compile.
struct StepIo {
    const FusedStepArgs& a;
    const EncodeArgs& points;
    const EncodeGrid& grid;
    int64_t coarse_rows;  // below which gradients are floats, though others are half floats

    XS_HD float fade(const float* point, int level) const {
        return a.grid.footprint_scale > 0.0f
                   ? encode_fade(point[3 * kTileStride] * a.grid.footprint_scale,
                                 grid.level[level].scale)
                   : 1.0f;
    }

    template <class Block>
    XS_HD void load(const Block& block, float* point, int64_t ray, int rays, float* features,
                    float* direction) const {
        block.phase([&](int thread) {
            if (thread >= kTileRays) {
                return;
            }
            float at[3] = {}, towards[3] = {};
            float footprint = 0.0f, depth;
            if (thread < rays) {
                const int64_t r = ray + thread;
                const PointsArgs& p = a.points;
                const InterpolateArgs args{{p.vertices, p.faces, p.cameras, p.camera_index + r,
                                            p.pixel + 2 * r, p.face_id + r},
                                           nullptr,
                                           1,
                                           at,
                                           nullptr,
                                           towards,
                                           &footprint,
                                           &depth};
                interpolate_one(args, 0);
                if (a.turn != nullptr) {
                    step_turn(a.turn + 3 * r, towards);
                }
            }
            for (int axis = 0; axis < 3; ++axis) {
                point[axis * kTileStride + thread] =
                    (at[axis] - a.centre[axis]) * a.unit[axis] + 0.5f;
                direction[axis * kTileStride + thread] = towards[axis];
            }
            point[3 * kTileStride + thread] = footprint * a.footprint_unit;
        });
        block.phase([&](int thread) {
            with_width(a.grid.width, [&](auto f) { look_up<f>(point, rays, thread, features); });
        });
    }

    template <class Block>
    XS_HD void store(const Block& block, float* point, int64_t, int rays, const float* grad) const {
        block.phase([&](int thread) {
            with_width(a.grid.width, [&](auto f) { scatter<f>(point, rays, thread, grad); });
        });
    }

  private:
    // A thread's share of the features of a tile's rays.
    template <int F>
    XS_HD void look_up(const float* point, int rays, int thread, float* features) const {
        for (int i = thread; i < kTileRays * a.grid.levels; i += kBlockThreads) {
            const int level = i / kTileRays;
            const float* mine = point + i % kTileRays;
            float* to = features + level * F * kTileStride + i % kTileRays;
            const float position[3] = {mine[0], mine[kTileStride], mine[2 * kTileStride]};
            float sum[F] = {};
            if (i % kTileRays < rays) {
                encode_features<F>(points, grid.level[level], position, fade(mine, level), sum);
            }
            for (int f = 0; f < F; ++f) {
                to[f * kTileStride] = sum[f];
            }
        }
    }

    // A thread takes one corner at one level through half of the tile's rays, so that all threads
    // have work: rays that follow each other in the same cell, as neighbours do, are added up
    // before memory sees them.
    template <int F>
    XS_HD void scatter(const float* point, int rays, int thread, const float* grad) const {
        constexpr int kParts = 2, kRays = kTileRays / kParts;
        for (int i = thread; i < kParts * 8 * a.grid.levels; i += kBlockThreads) {
            const int level = i / 8 % a.grid.levels;
            const int begin = i / 8 / a.grid.levels * kRays;
            EncodeRun<F> run;
            for (int r = begin; r < rays && r < begin + kRays; ++r) {
                const float* mine = point + r;
                const float visible = fade(mine, level);
                if (visible == 0.0f) {
                    continue;
                }
                const float position[3] = {mine[0], mine[kTileStride], mine[2 * kTileStride]};
                const EncodeCell at =
                    encode_cell(grid.level[level], position, points.grid.smoothstep);
                const int64_t row =
                    grid.level[level].offset + encode_corner_row(grid.level[level], at, i % 8);
                const float weight = encode_corner_weight(at, i % 8) * visible;
                if (row != run.row) {
                    flush<F>(run);
                    run.row = row;
                }
                const float* from = grad + level * F * kTileStride + r;
                for (int f = 0; f < F; ++f) {
                    run.sum[f] += weight * from[f * kTileStride];
                }
            }
            flush<F>(run);
        }
    }

    template <int F>
    XS_HD void flush(EncodeRun<F>& run) const {
        if (run.row < 0) {
            return;
        }
        const bool halves = a.gradient_half != nullptr && run.row >= coarse_rows;
        if (a.gradient_fixed == nullptr && !halves) {
            encode_flush<F>(points, true, run);
            return;
        }
        if (halves) {
            row_add<F>(a.gradient_half + run.row * F, run.sum);
        }
        for (int f = 0; f < F; ++f) {
            if (a.gradient_fixed != nullptr) {
                fixed_add(a.gradient_fixed + run.row * F + f, run.sum[f]);
            }
            run.sum[f] = 0.0f;
        }
        encode_touch(a.touched, run.row);
    }
};

}  // namespace xs
