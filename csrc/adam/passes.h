// adam's pass for a device and for the emulation: a thread for each row. Where bits say which rows
// were touched, only those rows are taken.
#pragma once

#include "adam/adam.h"
#include "adam/touched_rows.h"

namespace xs {

// The rows of a warp's share of the bits.
template <int F>
struct AdamTouched {
    AdamArgs a;

    template <class Warp>
    XS_HD void operator()(const Warp& warp, int64_t i) const {
        const AdamArgs now = adam_controlled(a);
        each_touched<false>(warp, a.touched, a.rows, i, [&](int64_t row) {
            if (row < a.rows) {  // the last byte may have bits of no row
                adam_whole_row<F>(now, row);
            }
        });
    }
};

// The lazy rule for rows that are loaded whole.
template <int F, class Launcher>
void adam_lazy_pass(const Launcher& launcher, const AdamArgs& args) {
    const AdamArgs a = args;
    if (a.touched != nullptr) {
        launcher.warps("adam", touched_warps(a.rows), 0, AdamTouched<F>{a});
    } else {
        launcher.items("adam", a.rows,
                       [a] XS_HD(int64_t row) { adam_whole_row<F>(adam_controlled(a), row); });
    }
}

// Either rule for rows of any width and alignment.
template <class Launcher>
void adam_any_pass(const Launcher& launcher, const AdamArgs& args) {
    const AdamArgs a = args;
    const bool dense = a.steps == nullptr, controlled = a.control != nullptr;
    const float scale1 = dense && !controlled ? 1.0f / adam_correction(a.beta1, a.step) : 1.0f;
    const float scale2 = dense && !controlled ? 1.0f / adam_correction(a.beta2, a.step) : 1.0f;
    launcher.items("adam", a.rows, [=] XS_HD(int64_t row) {
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

template <class Launcher>
void adam_passes(const Launcher& launcher, const AdamArgs& a) {
    const bool whole = a.steps != nullptr && adam_rows_aligned(a);
    if (whole && a.width == 2) {
        adam_lazy_pass<2>(launcher, a);
    } else if (whole && a.width == 4) {
        adam_lazy_pass<4>(launcher, a);
    } else if (whole && a.width == 8) {
        adam_lazy_pass<8>(launcher, a);
    } else {
        adam_any_pass(launcher, a);
    }
}

}  // namespace xs
