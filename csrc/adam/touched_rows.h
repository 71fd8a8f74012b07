// Touched rows, handed to the lanes of a warp without gaps: where one row in ten was touched, a
// lane for each row would leave nine in ten idle.
#pragma once

#include "warp.h"

namespace xs {

// Rows whose bits a warp looks at: a word a lane.
constexpr int64_t kTouchedRows = int64_t{kWarpLanes} * 32;

inline int64_t touched_warps(int64_t rows) {
    return (rows + kTouchedRows - 1) / kTouchedRows;
}

XS_HD inline int count_bits(uint32_t bits) {
#if defined(__CUDA_ARCH__)
    return __popc(bits);
#else
    return __builtin_popcount(bits);
#endif
}

// Place of the set bit number `n`, counted from 0.
XS_HD inline int nth_bit(uint32_t bits, int n) {
    int place = 0;
    XS_UNROLL
    for (int half = 16; half > 0; half /= 2) {
        const int below = count_bits(bits & ((1u << half) - 1u));
        const bool above = n >= below;
        n -= above ? below : 0;
        place += above ? half : 0;
        bits >>= above ? half : 0;
    }
    return place;
}

// Runs body(row) for the touched ones of kTouchedRows rows, as many at a time as the warp has
// lanes. `touched` is aligned to words and holds whole ones, though `rows` may end within one. With
// kClear the bits are cleared.
template <bool kClear, class Warp, class Body>
XS_HD inline void each_touched(const Warp& warp, const uint8_t* touched, int64_t rows, int64_t i,
                               const Body& body) {
    typename Warp::template PerLane<int> bits, before;
    warp.each([&](int lane) {
        const int64_t word = i * kWarpLanes + lane;
        bits[lane] = 0;
        if (32 * word < rows) {
            auto* at = reinterpret_cast<int32_t*>(const_cast<uint8_t*>(touched)) + word;
            bits[lane] = *at;
            if (kClear && bits[lane] != 0) {
                *at = 0;
            }
        }
        before[lane] = count_bits(static_cast<uint32_t>(bits[lane]));
    });
    const int total = warp.sums_before(before);
    for (int begin = 0; begin < total; begin += kWarpLanes) {
        // The lane whose word holds row number begin + lane: the last before which no more are.
        typename Warp::template PerLane<int> owner, probe, at;
        warp.each([&](int lane) { owner[lane] = 0; });
        XS_UNROLL
        for (int by = kWarpLanes / 2; by > 0; by /= 2) {
            warp.each([&](int lane) { probe[lane] = owner[lane] + by; });
            warp.pick(before, probe, at);
            warp.each([&](int lane) {
                owner[lane] = at[lane] <= begin + lane ? probe[lane] : owner[lane];
            });
        }
        typename Warp::template PerLane<int> word, first;
        warp.pick(bits, owner, word);
        warp.pick(before, owner, first);
        warp.each([&](int lane) {
            if (begin + lane < total) {
                const int bit =
                    nth_bit(static_cast<uint32_t>(word[lane]), begin + lane - first[lane]);
                body(32 * (i * kWarpLanes + owner[lane]) + bit);
            }
        });
    }
}

}  // namespace xs
