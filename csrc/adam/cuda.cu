// adam on a GPU: a thread for each row, of those alone that were touched where bits say which.
#include "adam/adam.h"
#include "adam/touched_rows.h"
#include "launcher_cuda.cuh"

namespace xs {

// The rows of a warp's share of the bits.
template <int F>
struct AdamTouched {
    AdamArgs a;

    template <class Warp>
    XS_HD void operator()(const Warp& warp, int64_t i) const {
        const AdamArgs now = adam_controlled(a);
        each_touched<false>(warp, a.touched, a.rows, i,
                            [&](int64_t row) { adam_whole_row<F>(now, row); });
    }
};

template <int F>
static void lazy(const AdamArgs& args, cudaStream_t stream) {
    const AdamArgs a = args;
    if (a.touched != nullptr) {
        CudaLauncher(stream).warps("adam", touched_warps(a.rows), 0, AdamTouched<F>{a});
        return;
    }
    parallel_for_cuda("adam", a.rows, stream,
                      [a] __device__(int64_t row) { adam_whole_row<F>(adam_controlled(a), row); });
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
    const bool dense = a.steps == nullptr, controlled = a.control != nullptr;
    const float scale1 = dense && !controlled ? 1.0f / adam_correction(a.beta1, a.step) : 1.0f;
    const float scale2 = dense && !controlled ? 1.0f / adam_correction(a.beta2, a.step) : 1.0f;
    parallel_for_cuda("adam", a.rows, stream, [=] __device__(int64_t row) {
        if (a.touched != nullptr && (a.touched[row >> 3] >> (row & 7) & 1) == 0) {
            return;
        }
        const AdamArgs now = adam_controlled(a);
        if (!control_moves(a.control)) {
            adam_clear_row(now, row);
        } else if (dense && controlled) {
            const auto step = static_cast<int32_t>(now.step);
            adam_row(now, row, adam_scale(a.beta1, step), adam_scale(a.beta2, step));
        } else {
            adam_row(now, row, scale1, scale2);
        }
    });
}

}  // namespace xs
