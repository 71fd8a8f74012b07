// One row's Adam update with the instruction set of the including SIMD source, for adam's own body
// and for fused_step: one code, so that both give the same bits.
#pragma once

#include "ops/adam.h"

namespace xs {
namespace XS_ISA {

// One row of kWidth numbers (0: any) with gradient `grad`; false under the lazy rule when all of
// the gradient is zero: then nothing moves. The dense rule has its own bias corrections.
template <int kWidth>
static inline bool adam_update_row(const AdamArgs& a, int64_t row, const float* __restrict grad,
                                   const AdamCorrections& corrections, float dense_scale1,
                                   float dense_scale2) {
    const int32_t width = kWidth > 0 ? kWidth : a.width;
    float* __restrict param = a.param + row * width;
    float* __restrict first = a.first + row * a.first_stride;
    float* __restrict second = a.second + row * a.second_stride;
    float scale1 = dense_scale1;
    float scale2 = dense_scale2;
    if (a.steps != nullptr) {
        bool used = false;
        for (int32_t i = 0; i < width; ++i) {
            used |= grad[i] != 0.0f;
        }
        if (!used) {
            return false;
        }
        uint16_t& steps = a.steps[row * a.steps_stride];
        const uint16_t count = steps < 65535 ? steps + 1 : 65535;
        steps = count;
        scale1 = count <= corrections.size ? corrections.first[count - 1] : 1.0f;
        scale2 = count <= corrections.size ? corrections.second[count - 1] : 1.0f;
    }
    for (int32_t i = 0; i < width; ++i) {
        adam_element(param[i], grad[i], first[i], second[i], a.learning_rate, a.beta1, a.beta2,
                     a.epsilon, scale1, scale2);
    }
    return true;
}

}  // namespace XS_ISA
}  // namespace xs
