#include "ops/adam.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int32_t kBlock = 1024;  // rows whose marks are read before their numbers are fetched
constexpr int32_t kAhead = 12;    // rows fetched before their turn: they lie far apart

// Lists the rows of [begin, end) that may have gradient. `end - begin` is at most kBlock.
int32_t touched_rows(const uint8_t* touched, int64_t begin, int64_t end, int32_t* list) {
    int32_t count = 0;
    for (int64_t row = begin; row < end;) {
        const uint8_t bits = touched[row >> 3];
        if (bits == 0) {
            row = (row | 7) + 1;
            continue;
        }
        list[count] = static_cast<int32_t>(row - begin);
        count += bits >> (row & 7) & 1;
        ++row;
    }
    return count;
}

// One row of kWidth numbers; kWidth 0 stands for any.
template <int kWidth>
void update_row(const AdamArgs& a, int64_t row, const float* table1, const float* table2,
                int32_t table_size, float dense_scale1, float dense_scale2) {
    const int32_t width = kWidth > 0 ? kWidth : a.width;
    float* __restrict param = a.param + row * width;
    float* __restrict grad = a.grad + row * a.grad_stride;
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
            return;
        }
        uint16_t& steps = a.steps[row * a.steps_stride];
        const uint16_t count = steps < 65535 ? steps + 1 : 65535;
        steps = count;
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

// Inlined by force: gcc takes a function that only prefetches for one without effect and drops the
// calls.
__attribute__((always_inline)) inline void fetch_row(const AdamArgs& a, int64_t row) {
    __builtin_prefetch(a.param + row * a.width, 1);
    __builtin_prefetch(a.grad + row * a.grad_stride, 1);
    if (a.grad_stride == a.width) {  // otherwise all of them are columns of one array
        __builtin_prefetch(a.first + row * a.first_stride, 1);
        __builtin_prefetch(a.second + row * a.second_stride, 1);
        if (a.steps != nullptr) {
            __builtin_prefetch(a.steps + row * a.steps_stride, 1);
        }
    }
}

template <int kWidth>
void update_rows(const AdamArgs& a, int64_t begin, int64_t end, const float* table1,
                 const float* table2, int32_t table_size, float scale1, float scale2) {
    if (a.touched == nullptr) {
        for (int64_t row = begin; row < end; ++row) {
            update_row<kWidth>(a, row, table1, table2, table_size, scale1, scale2);
        }
        return;
    }
    int32_t list[kBlock + 1];
    for (int64_t from = begin; from < end; from += kBlock) {
        const int32_t count =
            touched_rows(a.touched, from, from + kBlock < end ? from + kBlock : end, list);
        for (int32_t i = 0; i < count && i < kAhead; ++i) {
            fetch_row(a, from + list[i]);
        }
        for (int32_t i = 0; i < count; ++i) {
            if (i + kAhead < count) {
                fetch_row(a, from + list[i + kAhead]);
            }
            update_row<kWidth>(a, from + list[i], table1, table2, table_size, scale1, scale2);
        }
    }
}

}  // namespace

// Rows [begin, end). `table1`, `table2` hold the reciprocal bias corrections of the first
// `table_size` steps (later ones are 1 to float precision).
void adam_rows(const AdamArgs& a, int64_t begin, int64_t end, const float* table1,
               const float* table2, int32_t table_size, float scale1, float scale2) {
    const auto rows = a.width == 2   ? update_rows<2>
                      : a.width == 4 ? update_rows<4>
                      : a.width == 8 ? update_rows<8>
                                     : update_rows<0>;
    rows(a, begin, end, table1, table2, table_size, scale1, scale2);
}

}  // namespace XS_ISA
}  // namespace xs
