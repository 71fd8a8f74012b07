#include "ops/adam.h"
#include "parallel_cuda.cuh"

namespace xs {

template <int F>
static void lazy(const AdamArgs& args, cudaStream_t stream) {
    const AdamArgs a = args;
    parallel_for_cuda("adam", a.rows, stream,
                      [a] __device__(int64_t row) { adam_touched_row<F>(a, row); });
}

void adam_cuda(const AdamArgs& args, void* stream_address) {
    const AdamArgs a = args;
    const auto stream = static_cast<cudaStream_t>(stream_address);
    if (a.steps != nullptr && adam_rows_aligned(a)) {
        switch (a.width) {
            case 2:
                return lazy<2>(a, stream);
            case 4:
                return lazy<4>(a, stream);
            case 8:
                return lazy<8>(a, stream);
        }
    }
    const float scale1 = a.steps ? 1.0f : 1.0f / adam_correction(a.beta1, a.step);
    const float scale2 = a.steps ? 1.0f : 1.0f / adam_correction(a.beta2, a.step);
    parallel_for_cuda("adam", a.rows, stream, [a, scale1, scale2] __device__(int64_t row) {
        if (a.touched != nullptr && (a.touched[row >> 3] >> (row & 7) & 1) == 0) {
            return;
        }
        adam_row(a, row, scale1, scale2);
    });
}

}  // namespace xs
