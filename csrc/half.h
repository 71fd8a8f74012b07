// Half floats to floats and back, the same bits on host and device.
//
// Functions here are static: each instruction set's object must keep its own copy.
#pragma once

#include "host_device.h"

namespace xs {

XS_HD static inline float half_to_float(Half half) {
#if defined(__CUDA_ARCH__)
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half.bits));
    return value;
#else
    const uint32_t magnitude = static_cast<uint32_t>(half.bits & 0x7fffu) << 13;
    float value;
    memcpy(&value, &magnitude, 4);
    value *= 5.192296858534828e33f;  // 2^112, from half's exponent bias to float's
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits |= (half.bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
    bits |= static_cast<uint32_t>(half.bits & 0x8000u) << 16;
    memcpy(&value, &bits, 4);
    return value;
#endif
}

// Rounded to nearest even; what is too large becomes the largest half, so that no product with a
// zero is undefined. NaN stays.
XS_HD static inline Half float_to_half(float x) {
    Half half;
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.satfinite.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(x));
#else
    constexpr float kLargest = 65504.0f;
    x = x > kLargest ? kLargest : x;
    x = x < -kLargest ? -kLargest : x;
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) {
        bits = 0x7e00u;
    } else if (bits < 0x38800000u) {  // a subnormal half: the sum's rounding is the right one
        float shifted;
        memcpy(&shifted, &bits, 4);
        shifted += 0.5f;
        memcpy(&bits, &shifted, 4);
        bits -= 0x3f000000u;
    } else {
        bits += 0xfffu + (bits >> 13 & 1u);
        bits = (bits - 0x38000000u) >> 13;
    }
    half.bits = static_cast<uint16_t>(bits | sign);
#endif
    return half;
}

// The same, but what is too large becomes infinite: so that it shows.
XS_HD static inline Half float_to_half_open(float x) {
#if defined(__CUDA_ARCH__)
    Half half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(x));
    return half;
#else
    constexpr float kTooLarge = 65520.0f;  // rounds to the first power of two that has no half
    Half half = float_to_half(x);
    if (x >= kTooLarge || x <= -kTooLarge) {
        half.bits = x > 0.0f ? 0x7c00u : 0xfc00u;
    }
    return half;
#endif
}

}  // namespace xs
