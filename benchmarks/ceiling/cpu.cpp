// Ceilings on the CPU: the launchers, with the threads of the ops.
#include <atomic>

#include "ceiling/ceiling.h"
#include "parallel_cpu.h"

namespace xs {

void ceiling_gather_cpu(const EncodeArgs& a) {
    const EncodeGrid grid = encode_grid(a.grid);
    const auto touch = XS_PICK(encode_touch_chunk);
    std::atomic<uint64_t> seen{0};
    parallel_ranges(a.points, 2048,
                    [&](int64_t begin, int64_t end) { seen ^= touch(a, grid, begin, end); });
    a.features[0] = static_cast<float>(seen.load() & 1);
}

void ceiling_stream_cpu(const CeilingArgs& a) {
    parallel_ranges(a.floats, 1 << 18, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            a.data[i] += 1.0f;
        }
    });
    a.sink[0] = a.data[0];
}

void ceiling_multiply_cpu(const CeilingArgs& a) {
    constexpr int64_t kPiece = 1 << 22;
#if XSCALE_HAS_BF16
    const bool pairs = a.bfloat16 && active_isa() == Isa::avx512bf16;
    const auto multiply = pairs ? avx512bf16::multiply_registers : XS_PICK(multiply_registers);
#else
    const auto multiply = XS_PICK(multiply_registers);
#endif
    std::atomic<int64_t> sum{0};
    parallel_ranges(a.products, kPiece, [&](int64_t begin, int64_t end) {
        sum += static_cast<int64_t>(multiply(end - begin));
    });
    a.sink[0] = static_cast<double>(sum.load());
}

}  // namespace xs
