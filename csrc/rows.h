// Rows of a table as a device thread moves them: whole, in loads and stores of up to 16 bytes. They
// are aligned to their size, or to 16 bytes where they are longer.
#pragma once

#include "warp.h"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace xs {

// Whether rows of `width` numbers, `stride` apart, are so aligned.
template <class T>
static inline bool rows_aligned(const T* rows, int64_t stride, int32_t width) {
    constexpr int64_t kMost = 16 / sizeof(T);
    const int64_t numbers = width < kMost ? width : kMost;
    return reinterpret_cast<uintptr_t>(rows) % (sizeof(T) * numbers) == 0 && stride % numbers == 0;
}

template <int F>
XS_HD static inline void row_load(const float* from, float (&row)[F]) {
#if defined(__CUDA_ARCH__)
    if constexpr (F % 4 == 0) {
        XS_UNROLL
        for (int f = 0; f < F; f += 4) {
            const float4 four = *reinterpret_cast<const float4*>(from + f);
            row[f] = four.x;
            row[f + 1] = four.y;
            row[f + 2] = four.z;
            row[f + 3] = four.w;
        }
    } else if constexpr (F == 2) {
        const float2 two = *reinterpret_cast<const float2*>(from);
        row[0] = two.x;
        row[1] = two.y;
    } else {
        row[0] = *from;
    }
#else
    memcpy(row, from, sizeof row);
#endif
}

template <int F>
XS_HD static inline void row_store(float* to, const float (&row)[F]) {
#if defined(__CUDA_ARCH__)
    if constexpr (F % 4 == 0) {
        XS_UNROLL
        for (int f = 0; f < F; f += 4) {
            *reinterpret_cast<float4*>(to + f) =
                make_float4(row[f], row[f + 1], row[f + 2], row[f + 3]);
        }
    } else if constexpr (F == 2) {
        *reinterpret_cast<float2*>(to) = make_float2(row[0], row[1]);
    } else {
        *to = row[0];
    }
#else
    memcpy(to, row, sizeof row);
#endif
}

// The same for half floats and for whole numbers, aligned likewise.
template <int F>
XS_HD static inline void row_load(const Half* from, float (&row)[F]) {
#if defined(__CUDA_ARCH__)
    if constexpr (F == 8) {
        const HalfEight eight = load_eight(from);
        XS_UNROLL
        for (int f = 0; f < F; f += 2) {
            row[f] = half_to_float({static_cast<uint16_t>(eight.pair[f / 2])});
            row[f + 1] = half_to_float({static_cast<uint16_t>(eight.pair[f / 2] >> 16)});
        }
        return;
    }
#endif
    for (int f = 0; f < F; ++f) {
        row[f] = half_to_float(from[f]);
    }
}

template <int F>
XS_HD static inline void row_clear(Half* row) {
#if defined(__CUDA_ARCH__)
    if constexpr (F == 8) {
        store_eight(row, {});
        return;
    }
#endif
    for (int f = 0; f < F; ++f) {
        row[f] = {0};
    }
}

template <int F>
XS_HD static inline void row_load(const int64_t* from, int64_t (&row)[F]) {
#if defined(__CUDA_ARCH__)
    if constexpr (F % 2 == 0) {
        XS_UNROLL
        for (int f = 0; f < F; f += 2) {
            const longlong2 two = *reinterpret_cast<const longlong2*>(from + f);
            row[f] = two.x;
            row[f + 1] = two.y;
        }
        return;
    }
#endif
    for (int f = 0; f < F; ++f) {
        row[f] = from[f];
    }
}

template <int F>
XS_HD static inline void row_clear(int64_t* row) {
#if defined(__CUDA_ARCH__)
    if constexpr (F % 2 == 0) {
        XS_UNROLL
        for (int f = 0; f < F; f += 2) {
            *reinterpret_cast<longlong2*>(row + f) = make_longlong2(0, 0);
        }
        return;
    }
#endif
    for (int f = 0; f < F; ++f) {
        row[f] = 0;
    }
}

// Adds to a row that other threads add to as well: in as few atomics as the device has for it
// (compute capability 9.0: four floats at once).
template <int F>
XS_HD static inline void row_add(float* to, const float (&row)[F]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (F % 4 == 0) {
        XS_UNROLL
        for (int f = 0; f < F; f += 4) {
            atomicAdd(reinterpret_cast<float4*>(to + f),
                      make_float4(row[f], row[f + 1], row[f + 2], row[f + 3]));
        }
    } else if constexpr (F == 2) {
        atomicAdd(reinterpret_cast<float2*>(to), make_float2(row[0], row[1]));
    } else {
        atomicAdd(to, row[0]);
    }
#elif defined(__CUDA_ARCH__)
    XS_UNROLL
    for (int f = 0; f < F; ++f) {
        atomicAdd(to + f, row[f]);
    }
#else
    for (int f = 0; f < F; ++f) {
        to[f] += row[f];
    }
#endif
}

// The same for a row of half floats, in which what grows too large becomes infinite. `to` is
// aligned as a row of F half floats.
template <int F>
XS_HD static inline void row_add(Half* to, const float (&row)[F]) {
#if defined(__CUDA_ARCH__)
    if constexpr (F == 1) {
        atomicAdd(reinterpret_cast<__half*>(to), __float2half_rn(row[0]));
    } else {
        uint32_t pair[F / 2];
        XS_UNROLL
        for (int f = 0; f < F; f += 2) {
            pair[f / 2] = half_pair_open(row[f], row[f + 1]);
        }
#if __CUDA_ARCH__ >= 900
        if constexpr (F == 8) {
            asm volatile("red.relaxed.gpu.global.add.noftz.v4.f16x2 [%0], {%1, %2, %3, %4};"
                         :
                         : "l"(to), "r"(pair[0]), "r"(pair[1]), "r"(pair[2]), "r"(pair[3])
                         : "memory");
        } else if constexpr (F == 4) {
            asm volatile("red.relaxed.gpu.global.add.noftz.v2.f16x2 [%0], {%1, %2};"
                         :
                         : "l"(to), "r"(pair[0]), "r"(pair[1])
                         : "memory");
        } else
#endif
        {
            XS_UNROLL
            for (int f = 0; f < F; f += 2) {
                asm volatile("red.relaxed.gpu.global.add.noftz.f16x2 [%0], %1;"
                             :
                             : "l"(to + f), "r"(pair[f / 2])
                             : "memory");
            }
        }
    }
#else
    for (int f = 0; f < F; ++f) {
        to[f] =
            float_to_half_open(half_to_float(to[f]) + half_to_float(float_to_half_open(row[f])));
    }
#endif
}

}  // namespace xs
