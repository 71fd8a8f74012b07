#include "isa.h"
#include "ops/encode.h"
#include "parallel_cpu.h"

namespace xs {

XS_DECLARE_SIMD(void encode_forward_range(const EncodeArgs&, int, int64_t, int64_t))
XS_DECLARE_SIMD(void encode_backward_level(const EncodeArgs&, int))

void encode_cpu(const EncodeArgs& a) {
    const auto forward = XS_PICK(encode_forward_range);
    // Level by level over all points: one level's rows stay in the cache (3x at T = 2^19).
    constexpr int64_t kGrain = 4096;
    const int64_t pieces = (a.n + kGrain - 1) / kGrain;
    parallel_for(pieces * a.levels, [&](int64_t index) {
        const int64_t begin = index % pieces * kGrain;
        const int64_t end = begin + kGrain < a.n ? begin + kGrain : a.n;
        forward(a, static_cast<int>(index / pieces), begin, end);
    });
}

void encode_backward_cpu(const EncodeArgs& a) {
    // A level belongs to one thread: no atomics, and sums are in the order of the points.
    const auto backward = XS_PICK(encode_backward_level);
    parallel_for(a.levels,
                 [&](int64_t index) { backward(a, a.levels - 1 - static_cast<int>(index)); });
}

}  // namespace xs
