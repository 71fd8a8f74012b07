// Ceilings: multiply-adds on registers, compiled once for each instruction set.
#include "ceiling/ceiling.h"
#include "shade/vector.h"

namespace xs {
namespace XS_ISA {

double multiply_registers(int64_t products) {
    // Enough sums that none waits for itself.
    constexpr int kSums = 12;
#if defined(__AVX512BF16__)
    constexpr int kEach = 2 * kLanes;
#else
    constexpr int kEach = kLanes;
#endif
    V sum[kSums];
    for (int i = 0; i < kSums; ++i) {
        sum[i] = splat(static_cast<float>(i));
    }
    V factor = splat(0.5f);
    for (int64_t done = 0; done < products; done += kSums * kEach) {
#pragma GCC unroll 16
        for (int i = 0; i < kSums; ++i) {
#if defined(__AVX512BF16__)
            sum[i] = (V)_mm512_dpbf16_ps((__m512)sum[i], (__m512bh)factor, (__m512bh)factor);
#else
            sum[i] = fma(factor, factor, sum[i]);
#endif
        }
#if defined(__x86_64__)
        asm volatile("" : "+x"(factor));  // or the loop would be folded into one product
#endif
    }
    float total = 0.0f;
    for (int i = 0; i < kSums; ++i) {
        total += sum[i][0];
    }
    return total;
}

}  // namespace XS_ISA
}  // namespace xs
