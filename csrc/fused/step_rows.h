// fused_step's passes over rays, gradients and rows: what comes before and after the shader.
#pragma once

#include "adam/touched_rows.h"
#include "fused/step_scratch.h"

namespace xs {

// Number `i` of the targets.
XS_HD inline void step_target(const FusedStepArgs& a, const StepScratch& s, int64_t i) {
    s.target[i] = static_cast<float>(a.target[i]) / a.target_range;
}

// Piece `i` of the sums of losses and squared errors: every kStepSums-th ray, so that threads side
// by side read rays side by side.
XS_HD inline void step_partial_sum(const FusedStepArgs& a, const StepScratch& s, int64_t i) {
    if (i == 0) {
        *s.overflow = 0;
    }
    double loss = 0.0, error = 0.0;
    for (int64_t r = i; r < a.rays; r += kStepSums) {
        loss += s.ray_loss[r];
        for (int64_t c = 3 * r; c < 3 * r + 3; ++c) {
            const float away = s.rgb[c] - s.target[c];
            error += static_cast<double>(away) * away;
        }
    }
    s.partial[i] = loss;
    s.partial[kStepSums + i] = error;
}

// The sums of the pieces, in a fixed order: by one block, as a tree.
struct StepSum {
    FusedStepArgs a;
    StepScratch s;
    static constexpr int64_t kMemory = 2 * kBlockThreads;  // floats of the block

    template <class Block>
    XS_HD void operator()(const Block& block) const {
        if (block.index > 0) {
            return;
        }
        double* sums = reinterpret_cast<double*>(block.memory);
        for (int which = 0; which < 2; ++which) {
            block.phase([&](int thread) {
                double sum = 0.0;
                for (int64_t i = thread; i < kStepSums; i += kBlockThreads) {
                    sum += s.partial[which * kStepSums + i];
                }
                sums[thread] = sum;
            });
            for (int half = kBlockThreads / 2; half > 0; half /= 2) {
                block.phase([&](int thread) {
                    if (thread < half) {
                        sums[thread] += sums[thread + half];
                    }
                });
            }
            block.phase([&](int thread) {
                if (thread == 0) {
                    a.sums[which] = sums[0];
                }
            });
        }
    }
};

// Number `i` of the shader's gradients.
XS_HD inline float& step_gradient(const FusedStepArgs& a, const StepGradients& sizes, int64_t i) {
    return i < sizes.weights ? a.shade.grad_weights[i]
           : i < sizes.weights + sizes.exposure
               ? a.shade.grad_exposure[i - sizes.weights]
               : a.shade.grad_light[i - sizes.weights - sizes.exposure];
}

// Number `i` of the shader's gradients as its caller wants it: from fixed-point numbers, without
// the factor that it was computed with; and whether it is one.
XS_HD inline void step_finish(const FusedStepArgs& a, const StepScratch& s,
                              const StepGradients& sizes, int64_t i) {
    float& value = step_gradient(a, sizes, i);
    if (s.fixed != nullptr) {
        value += from_fixed(s.fixed[i]);
    }
    if (a.mixed) {
        value *= 1.0f / control_scale(a.control);  // the factor of this step still
    }
    if (!(value - value == 0.0f)) {
        racing_store(s.overflow, int32_t{1});
    }
}

// Whether the step moves anything, for a control to know.
XS_HD inline void step_decide(const FusedStepArgs& a, const StepScratch& s) {
    const double rays = static_cast<double>(a.rays < 1 ? 1 : a.rays);
    control_decide(a.control, a.sums[0] / rays, a.sums[1] / (3.0 * rays), *s.overflow != 0,
                   a.mixed);
}

// The gradient of a row without the factor that it was computed with. False where it left the half
// floats: then the next factor is the lesser one.
template <int F>
XS_HD inline bool step_unscale(double* control, float (&grad)[F]) {
    const auto used = static_cast<float>(control[kControlUsed]);
    bool finite = true;
    for (int f = 0; f < F; ++f) {
        grad[f] *= 1.0f / used;
        finite = finite && grad[f] - grad[f] == 0.0f;
    }
    if (!finite && used > kScaleLeast) {
        racing_store(control + kControlScale, 0.5 * used);
        racing_store(control + kControlGood, -1.0);
    }
    return finite;
}

// The gradient of a row, taken out of the working memory: zeros are left there.
template <int F>
XS_HD inline void step_take(const FusedStepArgs& a, const StepScratch& s, int64_t row,
                            float (&grad)[F]) {
    if (a.gradient_fixed != nullptr) {
        int64_t fixed[F];
        row_load<F>(a.gradient_fixed + row * F, fixed);
        row_clear<F>(a.gradient_fixed + row * F);
        for (int f = 0; f < F; ++f) {
            grad[f] = from_fixed(fixed[f]);
        }
    } else if (a.gradient_half != nullptr && row >= s.coarse_rows) {
        row_load<F>(a.gradient_half + row * F, grad);
        row_clear<F>(a.gradient_half + row * F);
    } else {
        const float none[F] = {};
        float* from = (a.gradient_half != nullptr ? s.coarse : a.gradient) + row * F;
        row_load<F>(from, grad);
        row_store<F>(from, none);
    }
}

// The touched rows of words [32 i, 32 i + 32) of the touched bits: Adam's step unless nothing
// moves, and gradient and bits cleared.
template <int F>
struct StepRows {
    FusedStepArgs a;
    AdamArgs adam;
    StepScratch s;
    int64_t rows;

    template <class Warp>
    XS_HD void operator()(const Warp& warp, int64_t i) const {
        const bool moves =
            a.control == nullptr ? control_finite(a.sums[0]) : control_moves(a.control);
        const AdamArgs now = adam_controlled(adam);
        each_touched<true>(warp, a.touched, rows, i, [&](int64_t row) {
            float grad[F];
            step_take<F>(a, s, row, grad);
            if (moves && (!a.mixed || step_unscale<F>(a.control, grad))) {
                adam_lazy_row<F>(now, row, grad);
            }
        });
    }
};

}  // namespace xs
