// Sine and cosine of the shaders' device kernels: no branch and no table, unlike the library's,
// whose way for large arguments would be compiled in wherever one is taken. Within 2e-7 for
// arguments up to 1e3, and 1e-6 up to 1e5.
#pragma once

#include "host_device.h"

namespace xs {

// sin of n pi + `x` - n pi, where `n` is whole and the rest at most half a turn of pi.
XS_HD inline float reduced_sine(float x, float n, float whole) {
    // pi in three parts, of which the first two have so few bits that their products are exact.
    float r = fmaf(-n, 3.140625f, x);
    r = fmaf(-n, 9.67502593994140625e-4f, r);
    r = fmaf(-n, 1.509957990978376432e-7f, r);
    const float z = r * r;
    float p = 2.599861772978329e-06f;
    p = fmaf(p, z, -0.0001980652887141332f);
    p = fmaf(p, z, 0.008333016186952591f);
    p = fmaf(p, z, -0.16666656732559204f);
    const float sine = fmaf(r * z, p, r);
    return (static_cast<int>(whole) & 1) != 0 ? -sine : sine;
}

XS_HD inline float fast_sine(float x) {
    const float n = rintf(x * 0.3183098861837907f);
    return reduced_sine(x, n, n);
}

// cos x = -sin(x - pi / 2 - n pi) for even n, and its opposite for odd n.
XS_HD inline float fast_cosine(float x) {
    const float n = rintf(fmaf(x, 0.3183098861837907f, -0.5f));
    return reduced_sine(x, n + 0.5f, n + 1.0f);
}

}  // namespace xs
