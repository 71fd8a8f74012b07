// Vectors of floats, as wide as the instruction set of the including source, and their functions.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "shade/math.h"

namespace xs {
namespace XS_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
// GCC 12 warns of its own header's undefined pass-through operand in the unmasked intrinsics.
constexpr __mmask16 kAllLanes = 0xffff;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float V __attribute__((vector_size(4 * kLanes)));
typedef int32_t VI __attribute__((vector_size(4 * kLanes)));
// The same in memory: any float's address will do.
typedef float VMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

static inline V load(const float* p) {
    return *reinterpret_cast<const VMemory*>(p);
}

static inline void store(float* p, V v) {
    *reinterpret_cast<VMemory*>(p) = v;
}

// Not V{} + x: a sum keeps a zero's sign apart, so that would be an addition before each broadcast.
static inline V splat(float x) {
#if defined(__AVX512F__)
    return (V)_mm512_set1_ps(x);
#elif defined(__AVX2__)
    return (V)_mm256_set1_ps(x);
#elif defined(__SSE2__)
    return (V)_mm_set1_ps(x);
#else
    return V{x, x, x, x};
#endif
}

// a * b + c, rounded once where the instruction set can.
static inline V fma(V a, V b, V c) {
#if defined(__AVX512F__)
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

// The larger of x and 0; NaN stays.
static inline V relu(V x) {
#if defined(__AVX512F__)
    return (V)_mm512_maskz_max_ps(kAllLanes, _mm512_setzero_ps(), (__m512)x);
#elif defined(__AVX2__)
    return (V)_mm256_max_ps(_mm256_setzero_ps(), (__m256)x);
#else
    return V{} > x ? V{} : x;
#endif
}

// Adding this rounds a float below 2^22 to an integer, which is then in the low bits.
constexpr float kRoundMagic = 12582912.0f;

struct VectorMath {
    using T = V;
    static inline V set(float x) { return splat(x); }
    static inline V select(VI mask, V a, V b) { return mask ? a : b; }

    static inline V sqrt(V x) {
#if defined(__AVX512F__)
        return (V)_mm512_maskz_sqrt_ps(kAllLanes, (__m512)x);
#elif defined(__AVX2__)
        return (V)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
        return (V)_mm_sqrt_ps((__m128)x);
#else
        for (int i = 0; i < kLanes; ++i) {
            x[i] = sqrtf(x[i]);
        }
        return x;
#endif
    }

    // Relative error below 2e-7 in [-87, 88]; saturates outside; NaN stays. Polynomial: Cephes.
    static inline V exp(V x) {
        x = x > 88.0f ? splat(88.0f) : x;
        x = x < -87.0f ? splat(-87.0f) : x;
        const V shifted = fma(x, splat(1.44269504088896341f), splat(kRoundMagic));
        const V n = shifted - kRoundMagic;
        V r = fma(n, splat(-0.693359375f), x);
        r = fma(n, splat(2.12194440e-4f), r);
        V p = splat(1.9875691500e-4f);
        p = fma(p, r, splat(1.3981999507e-3f));
        p = fma(p, r, splat(8.3334519073e-3f));
        p = fma(p, r, splat(4.1665795894e-2f));
        p = fma(p, r, splat(1.6666665459e-1f));
        p = fma(p, r, splat(5.0000001201e-1f));
        p = fma(p, r * r, r + 1.0f);
        return p * (V)(((VI)shifted << 23) + 0x3f800000);
    }

    // Natural logarithm of a positive normal number, relative error below 2e-7. Polynomial: Cephes.
    static inline V log(V x) {
        const VI bits = (VI)x;
        const VI exponent = (bits - 0x3f3504f3) >> 23;
        const V t = (V)(bits - (exponent << 23)) - 1.0f;
        const V e = __builtin_convertvector(exponent, V);
        V p = splat(7.0376836292e-2f);
        p = fma(p, t, splat(-1.1514610310e-1f));
        p = fma(p, t, splat(1.1676998740e-1f));
        p = fma(p, t, splat(-1.2420140846e-1f));
        p = fma(p, t, splat(1.4249322787e-1f));
        p = fma(p, t, splat(-1.6668057665e-1f));
        p = fma(p, t, splat(2.0000714765e-1f));
        p = fma(p, t, splat(-2.4999993993e-1f));
        p = fma(p, t, splat(3.3333331174e-1f));
        const V t2 = t * t;
        V y = p * t * t2;
        y = fma(e, splat(-2.12194440e-4f), y);
        y = fma(t2, splat(-0.5f), y);
        return fma(e, splat(0.693359375f), y + t);
    }

    // Sine alone; absolute error below 2e-7 for |x| up to 8192 and bounded beyond; NaN stays.
    // Reduction by pi in three parts (Cody and Waite); the polynomial is a minimax fit.
    static inline V sine(V x) {
        const V shifted = fma(x, splat(0.318309886183790672f), splat(kRoundMagic));
        const V n = shifted - kRoundMagic;
        V r = fma(n, splat(-3.140625f), x);
        r = fma(n, splat(-9.67502593994140625e-4f), r);
        r = fma(n, splat(-1.509957990978376432e-7f), r);
        r = r > 2.0f ? splat(2.0f) : r;
        r = r < -2.0f ? splat(-2.0f) : r;
        const V r2 = r * r;
        V s = fma(splat(2.600016159703955e-6f), r2, splat(-1.9806597265414894e-4f));
        s = fma(s, r2, splat(8.333017118275166e-3f));
        s = fma(s, r2, splat(-0.16666656732559204f));
        s = fma(s * r2, r, r);
        return (V)((VI)s ^ ((VI)shifted << 31));
    }

    // Sine and cosine; absolute error below 2e-7 for |x| up to 8192 and bounded beyond; NaN stays.
    // Reduction by pi/2 in three parts (Cody and Waite), polynomials: Cephes.
    static inline void sincos(V x, V& sine, V& cosine) {
        const V shifted = fma(x, splat(0.636619772367581343f), splat(kRoundMagic));
        const V q = shifted - kRoundMagic;
        const VI quadrant = (VI)shifted;
        V r = fma(q, splat(-1.5703125f), x);
        r = fma(q, splat(-4.837512969970703125e-4f), r);
        r = fma(q, splat(-7.54978995489188216e-8f), r);
        r = r > 1.0f ? splat(1.0f) : r;
        r = r < -1.0f ? splat(-1.0f) : r;
        const V r2 = r * r;
        V s = fma(splat(-1.9515295891e-4f), r2, splat(8.3321608736e-3f));
        s = fma(s, r2, splat(-1.6666654611e-1f));
        s = fma(s * r2, r, r);
        V c = fma(splat(2.443315711809948e-5f), r2, splat(-1.388731625493765e-3f));
        c = fma(c, r2, splat(4.166664568298827e-2f));
        c = fma(c * r2, r2, fma(r2, splat(-0.5f), splat(1.0f)));
        const VI odd = (quadrant & 1) != 0;
        const V sine_size = odd ? c : s;
        const V cosine_size = odd ? s : c;
        sine = (V)((VI)sine_size ^ ((quadrant & 2) << 30));
        cosine = (V)((VI)cosine_size ^ (((quadrant + 1) & 2) << 30));
    }
};

}  // namespace XS_ISA
}  // namespace xs
