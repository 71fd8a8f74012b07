// adam: one step of the Adam optimizer over the rows of a table.
//
// Source: Kingma & Ba 2015, algorithm 1. The lazy rule (rows without gradient stay as they are and
// count their own steps for the bias correction) is tiny-cuda-nn's; the dense rule is PyTorch's.
#pragma once

#include "adam/control.h"
#include "fields.h"
#include "rows.h"

namespace xs {

struct AdamArgs {
    float* param;            // [rows, width]
    float* grad;             // [rows, width]; rows that were used are set to zero when clear_grad
    float* first;            // [rows, width] running mean of the gradient (m)
    float* second;           // [rows, width] running mean of its square (v)
    uint16_t* steps;         // [rows] updates each row has had, saturating; null: dense rule
    const uint8_t* touched;  // [ceil(rows / 8)] bit r: row r may have gradient; null: look at all
    // From row to row, in elements: the arrays may be columns of one, so that all that belongs to a
    // row lies in one cache line.
    int64_t grad_stride, first_stride, second_stride, steps_stride;
    int64_t rows;
    int32_t width;  // numbers a row
    int64_t step;   // this update's number, from 1 (dense rule only)
    float learning_rate;
    float beta1, beta2, epsilon;
    bool clear_grad;        // set used gradients to zero for the next step
    const double* control;  // a StepControl: the rate counts learning_rate times, the step is its
                            // own, and whether anything moves; null: none

    XS_FIELDS(param, grad, first, second, steps, touched, grad_stride, first_stride, second_stride,
              steps_stride, rows, width, step, learning_rate, beta1, beta2, epsilon, clear_grad,
              control)
};

// beta^n for the bias correction; n is small or the result is 0 to float precision.
XS_HD inline float adam_correction(float beta, int64_t n) {
    return 1.0f - static_cast<float>(pow(static_cast<double>(beta), static_cast<double>(n)));
}

// 1 / (1 - beta^n), for a device: no double power.
XS_HD inline float adam_scale(float beta, int32_t n) {
    return -1.0f / expm1f(static_cast<float>(n) * logf(beta));
}

// The args of a step whose control says what its host does not. Where nothing moves, gradients are
// cleared all the same.
XS_HD inline AdamArgs adam_controlled(AdamArgs a) {
    if (a.control != nullptr) {
        a.learning_rate *= control_rate(a.control);
        a.step = static_cast<int64_t>(a.control[kControlStep]);
    }
    return a;
}

// Clears row `row` of the gradients.
XS_HD inline void adam_clear_row(const AdamArgs& a, int64_t row) {
    for (int32_t i = 0; i < a.width && a.clear_grad; ++i) {
        a.grad[row * a.grad_stride + i] = 0.0f;
    }
}

// One number's update. `scale1`, `scale2` are the reciprocal bias corrections.
XS_HD inline void adam_element(float& param, float grad, float& first, float& second,
                               float learning_rate, float beta1, float beta2, float epsilon,
                               float scale1, float scale2) {
    first = beta1 * first + (1.0f - beta1) * grad;
    second = beta2 * second + (1.0f - beta2) * grad * grad;
    param -= learning_rate * (first * scale1) / (sqrtf(second * scale2) + epsilon);
}

// One row: does nothing under the lazy rule when all of its gradient is zero.
XS_HD inline void adam_row(const AdamArgs& a, int64_t row, float dense_scale1, float dense_scale2) {
    float* param = a.param + row * a.width;
    float* grad = a.grad + row * a.grad_stride;
    float* first = a.first + row * a.first_stride;
    float* second = a.second + row * a.second_stride;
    float scale1 = dense_scale1;
    float scale2 = dense_scale2;
    if (a.steps != nullptr) {
        bool used = false;
        for (int32_t i = 0; i < a.width; ++i) {
            used = used || grad[i] != 0.0f;
        }
        if (!used) {
            return;
        }
        uint16_t& steps = a.steps[row * a.steps_stride];
        const uint16_t count = steps < 65535 ? steps + 1 : 65535;
        steps = count;
        scale1 = adam_scale(a.beta1, count);
        scale2 = adam_scale(a.beta2, count);
    }
    for (int32_t i = 0; i < a.width; ++i) {
        adam_element(param[i], grad[i], first[i], second[i], a.learning_rate, a.beta1, a.beta2,
                     a.epsilon, scale1, scale2);
        if (a.clear_grad) {
            grad[i] = 0.0f;
        }
    }
}

// The lazy rule for one row of F numbers, aligned as rows.h wants it, with gradient `grad`. False
// where all of that is zero and nothing moved.
template <int F>
XS_HD inline bool adam_lazy_row(const AdamArgs& a, int64_t row, const float (&grad)[F]) {
    bool used = false;
    for (int f = 0; f < F; ++f) {
        used = used || grad[f] != 0.0f;
    }
    if (!used) {
        return false;
    }
    uint16_t& steps = a.steps[row * a.steps_stride];
    const uint16_t count = steps < 65535 ? steps + 1 : 65535;
    steps = count;
    const float scale1 = adam_scale(a.beta1, count);
    const float scale2 = adam_scale(a.beta2, count);
    float param[F], first[F], second[F];
    row_load<F>(a.param + row * F, param);
    row_load<F>(a.first + row * a.first_stride, first);
    row_load<F>(a.second + row * a.second_stride, second);
    for (int f = 0; f < F; ++f) {
        adam_element(param[f], grad[f], first[f], second[f], a.learning_rate, a.beta1, a.beta2,
                     a.epsilon, scale1, scale2);
    }
    row_store<F>(a.param + row * F, param);
    row_store<F>(a.first + row * a.first_stride, first);
    row_store<F>(a.second + row * a.second_stride, second);
    return true;
}

// Row `row` of the device's lazy step.
template <int F>
XS_HD inline void adam_whole_row(const AdamArgs& a, int64_t row) {
    float grad[F];
    row_load<F>(a.grad + row * a.grad_stride, grad);
    if ((!control_moves(a.control) || adam_lazy_row<F>(a, row, grad)) && a.clear_grad) {
        const float none[F] = {};
        row_store<F>(a.grad + row * a.grad_stride, none);
    }
}

// Whether the device may take rows whole.
inline bool adam_rows_aligned(const AdamArgs& a) {
    return rows_aligned(a.param, a.width, a.width) &&
           rows_aligned(a.grad, a.grad_stride, a.width) &&
           rows_aligned(a.first, a.first_stride, a.width) &&
           rows_aligned(a.second, a.second_stride, a.width);
}

// Reciprocal bias corrections of updates 1 to `size`; those of later ones are 1 to float precision.
struct AdamCorrections {
    const float* first;
    const float* second;
    int32_t size;
};

// Valid in the calling thread until it asks for other betas.
AdamCorrections adam_corrections(float beta1, float beta2);

void adam_cpu(const AdamArgs& args);
void adam_cuda(const AdamArgs& args, void* stream);
void adam_emulated(const AdamArgs& args);

}  // namespace xs
