// adam's inner loop, compiled once for each instruction set.
#include "adam/row.h"

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

template <int kWidth>
void update_row(const AdamArgs& a, int64_t row, const AdamCorrections& corrections,
                float dense_scale1, float dense_scale2) {
    const int32_t width = kWidth > 0 ? kWidth : a.width;
    float* grad = a.grad + row * a.grad_stride;
    if (adam_update_row<kWidth>(a, row, grad, corrections, dense_scale1, dense_scale2) &&
        a.clear_grad) {
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
void update_rows(const AdamArgs& a, int64_t begin, int64_t end, const AdamCorrections& corrections,
                 float scale1, float scale2) {
    if (a.touched == nullptr) {
        for (int64_t row = begin; row < end; ++row) {
            update_row<kWidth>(a, row, corrections, scale1, scale2);
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
            update_row<kWidth>(a, from + list[i], corrections, scale1, scale2);
        }
    }
}

}  // namespace

// Rows [begin, end).
void adam_rows(const AdamArgs& a, int64_t begin, int64_t end, const AdamCorrections& corrections,
               float scale1, float scale2) {
    const auto rows = a.width == 2   ? update_rows<2>
                      : a.width == 4 ? update_rows<4>
                      : a.width == 8 ? update_rows<8>
                                     : update_rows<0>;
    rows(a, begin, end, corrections, scale1, scale2);
}

}  // namespace XS_ISA
}  // namespace xs
