// Shared by host and device code: function markers, half floats, small constants.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define XS_HD __host__ __device__
// Before a loop whose arrays must be registers.
#define XS_UNROLL _Pragma("unroll")
// For loops over arrays of numbers: the host's compiler makes vectors of what it sees whole.
#define XS_ALWAYS_INLINE __forceinline__
#else
#define XS_HD
#define XS_UNROLL
#define XS_ALWAYS_INLINE __attribute__((always_inline)) inline
#endif

namespace xs {

// IEEE half as stored in a tensor. Arithmetic is always done in float.
struct Half {
    uint16_t bits;
};

}  // namespace xs
