// One row's Adam update with the instruction set of the including SIMD source, for adam's own body
// and for fused_step: one code, so that both give the same bits.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "adam/adam.h"

// Rows of 8 floats are passed between functions of one file only, so how they are passed (in
// memory without AVX) concerns nobody else.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace xs {
namespace XS_ISA {

// A row in registers. Through pointers the compiler would have to fear that rows overlap.
template <int kWidth>
struct AdamRow {
    typedef float V __attribute__((vector_size(4 * kWidth)));

    static inline V load(const float* row) {
        V v;
        memcpy(&v, row, sizeof v);
        return v;
    }

    static inline V root(V v) {
#if defined(__SSE2__)
        if constexpr (kWidth == 4) {
            return (V)_mm_sqrt_ps((__m128)v);
        }
#endif
#if defined(__AVX__)
        if constexpr (kWidth == 8) {
            return (V)_mm256_sqrt_ps((__m256)v);
        }
#endif
        float number[kWidth];
        memcpy(number, &v, sizeof v);
        for (int i = 0; i < kWidth; ++i) {
            number[i] = sqrtf(number[i]);
        }
        return load(number);
    }

    // As adam_element.
    static inline void update(const AdamArgs& a, float* param, const float* grad, float* first,
                              float* second, float scale1, float scale2) {
        const V g = load(grad);
        const V m = a.beta1 * load(first) + (1.0f - a.beta1) * g;
        const V v = a.beta2 * load(second) + (1.0f - a.beta2) * g * g;
        const V p = load(param) - a.learning_rate * (m * scale1) / (root(v * scale2) + a.epsilon);
        memcpy(first, &m, sizeof m);
        memcpy(second, &v, sizeof v);
        memcpy(param, &p, sizeof p);
    }
};

// One row of kWidth numbers (0: any) with gradient `grad`; false under the lazy rule when all of
// the gradient is zero: then nothing moves. The dense rule has its own bias corrections.
template <int kWidth>
static inline bool adam_update_row(const AdamArgs& a, int64_t row, const float* grad,
                                   const AdamCorrections& corrections, float dense_scale1,
                                   float dense_scale2) {
    const int32_t width = kWidth > 0 ? kWidth : a.width;
    float* param = a.param + row * width;
    float* first = a.first + row * a.first_stride;
    float* second = a.second + row * a.second_stride;
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
    if constexpr (kWidth == 2 || kWidth == 4 || kWidth == 8) {
        AdamRow<kWidth>::update(a, param, grad, first, second, scale1, scale2);
    } else {
        for (int32_t i = 0; i < width; ++i) {
            adam_element(param[i], grad[i], first[i], second[i], a.learning_rate, a.beta1, a.beta2,
                         a.epsilon, scale1, scale2);
        }
    }
    return true;
}

}  // namespace XS_ISA
}  // namespace xs
