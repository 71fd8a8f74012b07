// The shaders' maths of one ray, written once for a scalar (ScalarMath: one ray, host or device)
// and for a vector of rays (VectorMath in shade/vector.h). `M` names the number type and its
// functions.
//
// Everything here is `static inline`: the SIMD sources are compiled once per instruction set, and a
// function shared by the linker could run one set's code on a processor that lacks it.
#pragma once

#include "host_device.h"

namespace xs {

// How a training step compares a colour with its target; kGiven: the caller has the gradient.
enum ShadeLoss : int32_t { kLossGiven = 0, kLossL1 = 1, kLossCharbonnier = 2, kLossL2 = 3 };

// Width of the Charbonnier loss's quadratic bottom, in units of the colour.
constexpr float kCharbonnierEpsilon = 1e-3f;

constexpr int32_t kMaxHarmonics = 16;

// Slope of the mapping networks' leaky ReLU below zero.
constexpr float kLeakySlope = 0.2f;

struct ScalarMath {
    using T = float;
    static XS_HD inline float set(float x) { return x; }
    static XS_HD inline float exp(float x) { return expf(x); }
    static XS_HD inline float log(float x) { return logf(x); }
    static XS_HD inline float sqrt(float x) { return sqrtf(x); }
    static XS_HD inline float select(bool mask, float a, float b) { return mask ? a : b; }
};

// Real spherical harmonics up to degree 4 (16 numbers) of a unit direction, in the order and with
// the signs of tiny-cuda-nn and instant-ngp. Coefficients from degree^2 on are zero.
template <class T>
XS_HD static inline void spherical_harmonics(T x, T y, T z, int32_t degree, T* out) {
    const T xy = x * y, xz = x * z, yz = y * z, x2 = x * x, y2 = y * y, z2 = z * z;
    out[0] = T() + 0.28209479177387814f;
    out[1] = -0.48860251190291987f * y;
    out[2] = 0.48860251190291987f * z;
    out[3] = -0.48860251190291987f * x;
    out[4] = 1.0925484305920792f * xy;
    out[5] = -1.0925484305920792f * yz;
    out[6] = 0.94617469575755997f * z2 - 0.31539156525251999f;
    out[7] = -1.0925484305920792f * xz;
    out[8] = 0.54627421529603959f * (x2 - y2);
    out[9] = 0.59004358992664352f * y * (y2 - 3.0f * x2);
    out[10] = 2.8906114426405538f * xy * z;
    out[11] = 0.45704579946446572f * y * (1.0f - 5.0f * z2);
    out[12] = 0.3731763325901154f * z * (5.0f * z2 - 3.0f);
    out[13] = 0.45704579946446572f * x * (1.0f - 5.0f * z2);
    out[14] = 1.4453057213202769f * z * (x2 - y2);
    out[15] = 0.59004358992664352f * x * (3.0f * y2 - x2);
    for (int32_t i = degree * degree; i < kMaxHarmonics; ++i) {
        out[i] = T();
    }
}

template <class M>
XS_HD static inline typename M::T sigmoid(typename M::T x) {
    return 1.0f / (1.0f + M::exp(-x));
}

// Linear light to sRGB, and the slope there. Below zero the linear piece goes on and above one the
// tangent at one does: colours are clamped when pixels are written, so that gradients never die.
template <class M>
XS_HD static inline void srgb_curve(typename M::T linear, typename M::T& value,
                                    typename M::T& slope) {
    using T = typename M::T;
    const auto dark = linear <= 0.0031308f;
    const auto bright = linear > 1.0f;
    const T inside = M::select(dark, M::set(0.0031308f), M::select(bright, M::set(1.0f), linear));
    const T power = 1.055f * M::exp(M::log(inside) * (1.0f / 2.4f));
    const T tangent = 1.055f / 2.4f * (linear - 1.0f) + 1.0f;
    value = M::select(dark, 12.92f * linear, M::select(bright, tangent, power - 0.055f));
    slope = M::select(dark, M::set(12.92f), power / (2.4f * inside));
    // The vector logarithm takes numbers apart by their bits and does not know NaN.
    const auto undefined = linear != linear;
    value = M::select(undefined, linear, value);
    slope = M::select(undefined, linear, slope);
}

// Loss of one channel and its derivative for a difference of colours.
template <class M>
XS_HD static inline void shade_loss(int32_t kind, typename M::T difference, typename M::T& loss,
                                    typename M::T& slope) {
    using T = typename M::T;
    if (kind == kLossL1) {
        const T sign = M::select(difference < 0.0f, M::set(-1.0f), M::set(1.0f));
        loss = sign * difference;
        slope = M::select(difference == 0.0f, M::set(0.0f), sign);
    } else if (kind == kLossCharbonnier) {
        const T root = M::sqrt(difference * difference + kCharbonnierEpsilon * kCharbonnierEpsilon);
        loss = root - kCharbonnierEpsilon;
        slope = difference / root;
    } else {
        loss = difference * difference;
        slope = 2.0f * difference;
    }
}

}  // namespace xs
