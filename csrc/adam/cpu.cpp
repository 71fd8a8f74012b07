// adam on the CPU: rows over threads, and the tables of bias corrections; and the device's pass on
// the host.
#include <vector>

#include "adam/passes.h"
#include "isa.h"
#include "launcher.h"
#include "parallel_cpu.h"

namespace xs {

XS_DECLARE_SIMD(void adam_rows(const AdamArgs&, int64_t, int64_t, const AdamCorrections&, float,
                               float))

// pow() a row would cost more than the row: corrections come from a table. After this many steps
// 1 - 0.9995^n is 1 in float.
static constexpr int32_t kTableSize = 40000;

static std::vector<float> reciprocal_corrections(float beta, int32_t size) {
    std::vector<float> table(size);
    double power = 1.0;
    for (int32_t n = 0; n < size; ++n) {
        power *= static_cast<double>(beta);
        table[n] = static_cast<float>(1.0 / static_cast<float>(1.0 - power));
    }
    return table;
}

AdamCorrections adam_corrections(float beta1, float beta2) {
    static thread_local float beta1_of_table = -1.0f;
    static thread_local float beta2_of_table = -1.0f;
    static thread_local std::vector<float> table1;
    static thread_local std::vector<float> table2;
    if (beta1_of_table != beta1 || beta2_of_table != beta2) {
        table1 = reciprocal_corrections(beta1, kTableSize);
        table2 = reciprocal_corrections(beta2, kTableSize);
        beta1_of_table = beta1;
        beta2_of_table = beta2;
    }
    return {table1.data(), table2.data(), kTableSize};
}

void adam_cpu(const AdamArgs& args) {
    const AdamArgs a = adam_controlled(args);
    if (!control_moves(a.control)) {
        for (int64_t row = 0; row < a.rows; ++row) {
            adam_clear_row(a, row);
        }
        return;
    }
    AdamCorrections corrections{};
    if (a.steps != nullptr) {
        corrections = adam_corrections(a.beta1, a.beta2);
    }
    const float scale1 = a.steps ? 1.0f : 1.0f / adam_correction(a.beta1, a.step);
    const float scale2 = a.steps ? 1.0f : 1.0f / adam_correction(a.beta2, a.step);
    const auto rows = XS_PICK(adam_rows);
    parallel_ranges(a.rows, 65536, [&](int64_t begin, int64_t end) {
        rows(a, begin, end, corrections, scale1, scale2);
    });
}

void adam_emulated(const AdamArgs& args) {
    adam_passes(HostLauncher(), args);
}

}  // namespace xs
