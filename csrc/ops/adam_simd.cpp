#include "ops/adam.h"

namespace xs {
namespace XS_ISA {

// Rows [begin, end). `table1`, `table2` hold the reciprocal bias corrections of the first
// `table_size` steps (later ones are 1 to float precision).
void adam_rows(const AdamArgs& a, int64_t begin, int64_t end, const float* table1,
               const float* table2, int32_t table_size, float dense_scale1, float dense_scale2) {
    const int32_t width = a.width;
    for (int64_t row = begin; row < end; ++row) {
        if (a.touched != nullptr) {
            const uint8_t bits = a.touched[row >> 3];
            if (bits == 0) {
                row |= 7;
                continue;
            }
            if ((bits >> (row & 7) & 1) == 0) {
                continue;
            }
        }
        float* __restrict param = a.param + row * width;
        float* __restrict grad = a.grad + row * width;
        float* __restrict first = a.first + row * width;
        float* __restrict second = a.second + row * width;
        float scale1 = dense_scale1;
        float scale2 = dense_scale2;
        if (a.steps != nullptr) {
            bool used = false;
            for (int32_t i = 0; i < width; ++i) {
                used |= grad[i] != 0.0f;
            }
            if (!used) {
                continue;
            }
            const uint16_t count = a.steps[row] < 65535 ? a.steps[row] + 1 : 65535;
            a.steps[row] = count;
            scale1 = count <= table_size ? table1[count - 1] : 1.0f;
            scale2 = count <= table_size ? table2[count - 1] : 1.0f;
        }
        for (int32_t i = 0; i < width; ++i) {
            adam_element(param[i], grad[i], first[i], second[i], a.learning_rate, a.beta1, a.beta2,
                         a.epsilon, scale1, scale2);
        }
        if (a.clear_grad) {
            for (int32_t i = 0; i < width; ++i) {
                grad[i] = 0.0f;
            }
        }
    }
}

}  // namespace XS_ISA
}  // namespace xs
