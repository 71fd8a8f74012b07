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

// After a lambda's parameters: its body stands where it is called. A device would pass what it
// refers to through local memory otherwise.
#define XS_INLINE_LAMBDA __attribute__((always_inline))

namespace xs {

// A store that several threads make of the same value, and a load beside stores and atomics of
// others: races that are meant. The interpreter of the tests knows them by `volatile`.
template <class T>
XS_HD inline void racing_store(T* to, T value) {
    *static_cast<volatile T*>(to) = value;
}
template <class T>
XS_HD inline T racing_load(const T* from) {
    return *static_cast<const volatile T*>(from);
}

// IEEE half as stored in a tensor. Arithmetic is always done in float.
struct Half {
    uint16_t bits;
};

}  // namespace xs
