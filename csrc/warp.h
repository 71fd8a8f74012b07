// Thirty-two threads in step, with matrix units: what kernels written for warps use. The same code
// runs as a CUDA warp (DeviceWarp, warp_cuda.cuh) and on the host (HostWarp), where a step is a
// loop over the lanes and a product takes its operands from where the PTX manual says they lie.
#pragma once

#include "half.h"

namespace xs {

constexpr int kWarpLanes = 32;

// A lane's part of the operands of mma.m16n8k16 (PTX manual, "Matrix fragments for mma.m16n8k16"):
// pairs of halves of A [16, 16] and of B [16, 8], sums C [16, 8].
struct MmaA {
    uint32_t pair[4];
};
struct MmaB {
    uint32_t pair[2];
};
struct MmaC {
    float value[4];
};

// Place in the tile of a lane's sum `i`. Pair `i` of A begins at row mma_row(lane, 2 * (i % 2)),
// column mma_column(lane, 0) + i / 2 * 8; pair `i` of B at row mma_column(lane, 0) + 8 * i, column
// lane / 4.
XS_HD inline int mma_row(int lane, int i) {
    return lane / 4 + i / 2 * 8;
}
XS_HD inline int mma_column(int lane, int i) {
    return lane % 4 * 2 + i % 2;
}

// Two numbers as float_to_half and float_to_half_open make halves of them; one instruction of a
// device.
XS_HD inline uint32_t half_pair(float low, float high) {
#if defined(__CUDA_ARCH__)
    uint32_t pair;
    asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return float_to_half(low).bits | static_cast<uint32_t>(float_to_half(high).bits) << 16;
#endif
}

XS_HD inline uint32_t half_pair_open(float low, float high) {
#if defined(__CUDA_ARCH__)
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return float_to_half_open(low).bits | static_cast<uint32_t>(float_to_half_open(high).bits)
                                              << 16;
#endif
}

// Pairs of halves in memory, aligned to a pair.
XS_HD inline uint32_t load_pair(const Half* from) {
#if defined(__CUDA_ARCH__)
    return *reinterpret_cast<const uint32_t*>(from);
#else
    uint32_t pair;
    memcpy(&pair, from, sizeof pair);
    return pair;
#endif
}

XS_HD inline void store_pair(Half* to, uint32_t pair) {
#if defined(__CUDA_ARCH__)
    *reinterpret_cast<uint32_t*>(to) = pair;
#else
    memcpy(to, &pair, sizeof pair);
#endif
}

// Eight halves after each other, aligned to 16 bytes.
struct HalfEight {
    uint32_t pair[4];
};

XS_HD inline HalfEight load_eight(const Half* from) {
    HalfEight eight;
#if defined(__CUDA_ARCH__)
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    eight.pair[0] = words.x;
    eight.pair[1] = words.y;
    eight.pair[2] = words.z;
    eight.pair[3] = words.w;
#else
    memcpy(&eight, from, sizeof eight);
#endif
    return eight;
}

// Four halves after each other, aligned to 8 bytes: an operand B.
XS_HD inline MmaB load_four(const Half* from) {
    MmaB four;
#if defined(__CUDA_ARCH__)
    const uint2 words = *reinterpret_cast<const uint2*>(from);
    four.pair[0] = words.x;
    four.pair[1] = words.y;
#else
    memcpy(&four, from, sizeof four);
#endif
    return four;
}

XS_HD inline void store_eight(Half* to, const HalfEight& eight) {
#if defined(__CUDA_ARCH__)
    *reinterpret_cast<uint4*>(to) =
        make_uint4(eight.pair[0], eight.pair[1], eight.pair[2], eight.pair[3]);
#else
    memcpy(to, &eight, sizeof eight);
#endif
}

struct HostWarp {
    char* memory;  // the warp's own

    // A value of every lane.
    template <class T>
    struct PerLane {
        T value[kWarpLanes];
        T& operator[](int lane) { return value[lane]; }
    };

    template <class Body>
    void each(const Body& body) const {
        for (int lane = 0; lane < kWarpLanes; ++lane) {
            body(lane);
        }
    }

    template <class Predicate>
    bool any(const Predicate& predicate) const {
        bool found = false;
        each([&](int lane) { found = predicate(lane) || found; });
        return found;
    }

    // Bit i is lane i's answer.
    template <class Predicate>
    uint32_t ballot(const Predicate& predicate) const {
        uint32_t bits = 0;
        each([&](int lane) { bits |= predicate(lane) ? 1u << lane : 0u; });
        return bits;
    }

    // Gives each lane what the lane before it has; the first keeps its own.
    template <class T>
    void previous(PerLane<T>& from, PerLane<T>& to) const {
        each([&](int lane) { to[lane] = from[lane > 0 ? lane - 1 : 0]; });
    }

    // Where predicate(lane): adds the numbers of lane + `by` to the lane's own.
    template <class T, class Predicate>
    void add_shifted(PerLane<T>& numbers, int by, const Predicate& predicate) const {
        each([&](int lane) {  // upwards: what is read has not changed yet
            for (int i = 0; i < T::kCount && predicate(lane); ++i) {
                numbers[lane].value[i] += numbers[lane + by].value[i];
            }
        });
    }

    // Gives each lane what lane[...] has.
    template <class T>
    void pick(PerLane<T>& from, PerLane<int>& lane, PerLane<T>& to) const {
        PerLane<T> given = from;
        each([&](int i) { to[i] = given[lane[i]]; });
    }

    // Replaces each lane's number by the sum of those before it; returns the sum of all.
    int sums_before(PerLane<int>& numbers) const {
        int sum = 0;
        each([&](int lane) {
            const int mine = numbers[lane];
            numbers[lane] = sum;
            sum += mine;
        });
        return sum;
    }

    // Makes what lanes wrote to memory visible to the others.
    void sync() const {}

    // sum += A B.
    void product(PerLane<MmaA>& a, PerLane<MmaB>& b, PerLane<MmaC>& sum) const {
        float left[16][16], right[16][8];
        each([&](int lane) {
            for (int i = 0; i < 4; ++i) {
                const int row = lane / 4 + i % 2 * 8, column = lane % 4 * 2 + i / 2 * 8;
                left[row][column] = half_to_float({static_cast<uint16_t>(a[lane].pair[i])});
                left[row][column + 1] =
                    half_to_float({static_cast<uint16_t>(a[lane].pair[i] >> 16)});
            }
            for (int i = 0; i < 2; ++i) {
                const int row = lane % 4 * 2 + i * 8, column = lane / 4;
                right[row][column] = half_to_float({static_cast<uint16_t>(b[lane].pair[i])});
                right[row + 1][column] =
                    half_to_float({static_cast<uint16_t>(b[lane].pair[i] >> 16)});
            }
        });
        each([&](int lane) {
            for (int i = 0; i < 4; ++i) {
                for (int k = 0; k < 16; ++k) {
                    sum[lane].value[i] += left[mma_row(lane, i)][k] * right[k][mma_column(lane, i)];
                }
            }
        });
    }
};

}  // namespace xs
