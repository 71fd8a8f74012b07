// Rows of the hash grid's table as a device thread reads them: in the widest loads that they allow,
// all eight of a cell before the first is used. Rows are aligned to their size (at most 16 bytes).
#pragma once

#include "encode/encode.h"
#include "rows.h"
#include "warp.h"
#include "width.h"

namespace xs {

// Words after each other, read together.
template <int kWords>
struct EncodeWords {
    uint32_t word[kWords];
};

template <int kWords>
XS_HD static inline EncodeWords<kWords> encode_words(const void* from) {
    EncodeWords<kWords> words;
#if defined(__CUDA_ARCH__)
    if constexpr (kWords >= 4) {
        for (int i = 0; i < kWords; i += 4) {
            const uint4 four = __ldg(static_cast<const uint4*>(from) + i / 4);
            words.word[i] = four.x;
            words.word[i + 1] = four.y;
            words.word[i + 2] = four.z;
            words.word[i + 3] = four.w;
        }
    } else if constexpr (kWords == 2) {
        const uint2 two = __ldg(static_cast<const uint2*>(from));
        words.word[0] = two.x;
        words.word[1] = two.y;
    } else {
        words.word[0] = __ldg(static_cast<const uint32_t*>(from));
    }
#else
    memcpy(&words, from, sizeof words);
#endif
    return words;
}

XS_HD static inline float encode_number(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// Adds weight * row to `sum`, for the kinds of table.
template <int F>
struct EncodeFloatRow {
    EncodeWords<F> words;
    XS_HD explicit EncodeFloatRow(const float* row) : words(encode_words<F>(row)) {}
    XS_HD void add(float weight, float (&sum)[F]) const {
        for (int f = 0; f < F; ++f) {
            sum[f] += weight * encode_number(words.word[f]);
        }
    }
};

template <int F>
struct EncodeHalfRow {
    EncodeWords<F / 2> words;
    XS_HD explicit EncodeHalfRow(const Half* row) : words(encode_words<F / 2>(row)) {}
    XS_HD void add(float weight, float (&sum)[F]) const {
        for (int f = 0; f < F; f += 2) {
            const uint32_t pair = words.word[f / 2];
            sum[f] += weight * half_to_float({static_cast<uint16_t>(pair)});
            sum[f + 1] += weight * half_to_float({static_cast<uint16_t>(pair >> 16)});
        }
    }
};

template <>
struct EncodeHalfRow<1> {
    Half half;
    XS_HD explicit EncodeHalfRow(const Half* row) : half(*row) {}
    XS_HD void add(float weight, float (&sum)[1]) const { sum[0] += weight * half_to_float(half); }
};

// The eight rows of a cell and their weights.
struct EncodeCorners {
    int64_t row[8];  // in the table
    float weight[8];
};

XS_HD static inline EncodeCorners encode_corners(const EncodeLevel& level, const EncodeCell& at,
                                                 float fade) {
    EncodeCorners corners;
    for (int corner = 0; corner < 8; ++corner) {
        corners.row[corner] = level.offset + encode_corner_row(level, at, corner);
        corners.weight[corner] = encode_corner_weight(at, corner) * fade;
    }
    return corners;
}

template <class Row, int F, class T>
XS_HD static inline void encode_sum(const T* table, const EncodeCorners& corners, float (&sum)[F]) {
    const Row rows[8] = {
        Row(table + corners.row[0] * F), Row(table + corners.row[1] * F),
        Row(table + corners.row[2] * F), Row(table + corners.row[3] * F),
        Row(table + corners.row[4] * F), Row(table + corners.row[5] * F),
        Row(table + corners.row[6] * F), Row(table + corners.row[7] * F),
    };
    XS_UNROLL
    for (int corner = 0; corner < 8; ++corner) {
        rows[corner].add(corners.weight[corner], sum);
    }
}

// Features of a position at one level, `fade` being the level's weight there.
template <int F>
XS_HD static inline void encode_features(const EncodeArgs& a, const EncodeLevel& level,
                                         const float* position, float fade, float (&sum)[F]) {
    for (int f = 0; f < F; ++f) {
        sum[f] = 0.0f;
    }
    if (fade == 0.0f) {
        return;
    }
    const EncodeCorners corners =
        encode_corners(level, encode_cell(level, position, a.grid.smoothstep), fade);
    if (a.grid.table != nullptr) {
        encode_sum<EncodeFloatRow<F>>(a.grid.table, corners, sum);
    } else {
        encode_sum<EncodeHalfRow<F>>(a.grid.table_half, corners, sum);
    }
}

// Touches of one row by points that follow each other, added up.
template <int F>
struct EncodeRun {
    int64_t row = -1;  // in the table; -1: none yet
    float sum[F] = {};
};

// Sets the row's bit in a device's `touched`; null: none is kept.
XS_HD static inline void encode_touch(uint8_t* touched, int64_t row) {
    if (touched == nullptr) {
        return;
    }
#if defined(__CUDA_ARCH__)
    // Atomics are for words: the byte's bit within the aligned word around it. The last word
    // reaches past the last byte: Python gives memory that is whole words (touched_bits in
    // _memory.py).
    const auto address = reinterpret_cast<uintptr_t>(touched + (row >> 3));
    auto* word = reinterpret_cast<unsigned int*>(address & ~uintptr_t{3});
    const unsigned int bit = 1u << (8 * (address & 3) + (row & 7));
    if ((racing_load(word) & bit) == 0) {
        atomicOr(word, bit);
    }
#else
    touched[row >> 3] |= static_cast<uint8_t>(1u << (row & 7));
#endif
}

// Adds a run to the gradient table and clears it.
template <int F>
XS_HD static inline void encode_flush(const EncodeArgs& a, bool aligned, EncodeRun<F>& run) {
    float* to = a.grad_table + run.row * a.grad_stride;
    if (aligned) {
        row_add<F>(to, run.sum);
    } else {
        for (int f = 0; f < F; ++f) {
            const float one[1] = {run.sum[f]};
            row_add<1>(to + f, one);
        }
    }
    encode_touch(a.touched, run.row);
    for (int f = 0; f < F; ++f) {
        run.sum[f] = 0.0f;
    }
}

static inline int64_t encode_scatter_warps(const EncodeArgs& a) {
    return (a.points + kWarpLanes - 1) / kWarpLanes * a.grid.levels;
}

// Additions of a warp's lanes to rows.
template <int F>
struct EncodeShare {
    static constexpr int kCount = F;
    float value[F];
};

// Warp `i` of the table's gradient: one level of as many points as it has lanes. Lanes side by side
// that touch the same row, as neighbours on the surface do, add up first, and one of them alone
// goes to memory.
template <int F, class Warp>
XS_HD static inline void encode_scatter(const Warp& warp, const EncodeArgs& a,
                                        const EncodeGrid& grid, bool aligned, int64_t i) {
    const int64_t groups = (a.points + kWarpLanes - 1) / kWarpLanes;
    const int64_t begin = i % groups * kWarpLanes;
    const int32_t l = static_cast<int32_t>(i / groups);
    const EncodeLevel& level = grid.level[l];
    typename Warp::template PerLane<EncodeCell> at;
    typename Warp::template PerLane<EncodeShare<F>> grad;
    typename Warp::template PerLane<float> fade;
    warp.each([&](int lane) {
        const int64_t point = begin + lane;
        fade[lane] = point < a.points ? encode_level_weight(a, level, point) : 0.0f;
        if (fade[lane] != 0.0f) {
            at[lane] = encode_cell(level, a.position + 3 * point, a.grid.smoothstep);
            row_load<F>(a.grad_features + (point * a.grid.levels + l) * F, grad[lane].value);
        }
    });
    for (int corner = 0; corner < 8; ++corner) {
        typename Warp::template PerLane<int64_t> row, before;
        typename Warp::template PerLane<EncodeShare<F>> share;
        warp.each([&](int lane) {
            row[lane] = -1;
            for (int f = 0; f < F; ++f) {
                share[lane].value[f] = 0.0f;
            }
            if (fade[lane] != 0.0f) {
                row[lane] = level.offset + encode_corner_row(level, at[lane], corner);
                const float weight = encode_corner_weight(at[lane], corner) * fade[lane];
                for (int f = 0; f < F; ++f) {
                    share[lane].value[f] = weight * grad[lane].value[f];
                }
            }
        });
        warp.previous(row, before);
        // Bit i: lane i begins a run of one row.
        const uint32_t heads =
            warp.ballot([&](int lane) { return lane == 0 || before[lane] != row[lane]; });
        if (heads != 0xffffffffu) {
            for (int by = 1; by < kWarpLanes; by *= 2) {
                warp.add_shifted(share, by, [&](int lane) {
                    // No run begins among the next `by` lanes, and there are so many.
                    const uint32_t next = ((1u << by) - 1u) << lane << 1;
                    return lane + by < kWarpLanes && (heads & next) == 0;
                });
            }
        }
        warp.each([&](int lane) {
            if ((heads >> lane & 1u) != 0 && row[lane] >= 0) {
                EncodeRun<F> run;
                run.row = row[lane];
                for (int f = 0; f < F; ++f) {
                    run.sum[f] = share[lane].value[f];
                }
                encode_flush<F>(a, aligned, run);
            }
        });
    }
}

template <int F>
struct EncodeScatterKernel {
    EncodeArgs args;
    EncodeGrid grid;
    bool aligned;

    template <class Warp>
    XS_HD void operator()(const Warp& warp, int64_t i) const {
        encode_scatter<F>(warp, args, grid, aligned, i);
    }
};

// Levels that a warp looks up for its points, so that what it writes of a point is whole lines.
constexpr int kEncodeTogether = 4;

// Features of as many points as a warp has lanes, at kEncodeTogether levels. They are written from
// the warp's memory: lanes side by side write what lies side by side. Levels are the slow axis, so
// that warps side by side read the same ones, which stay in the cache.
template <int F>
struct EncodeForwardKernel {
    EncodeArgs a;
    EncodeGrid grid;

    static constexpr int kNumbers = kEncodeTogether * F;  // of a point
    static constexpr int kStride = kNumbers + 4;          // rows begin in other banks
    static constexpr int64_t kBytes = int64_t{sizeof(float)} * kStride * kWarpLanes;

    static int64_t warps(const EncodeArgs& a) {
        return (a.points + kWarpLanes - 1) / kWarpLanes *
               ((a.grid.levels + kEncodeTogether - 1) / kEncodeTogether);
    }

    template <class Warp>
    XS_HD void operator()(const Warp& warp, int64_t i) const {
        const int64_t groups = (a.points + kWarpLanes - 1) / kWarpLanes;
        const int64_t begin = i % groups * kWarpLanes;
        const int32_t first = static_cast<int32_t>(i / groups) * kEncodeTogether;
        const int32_t left = a.grid.levels - first;
        const int32_t levels = left < kEncodeTogether ? left : kEncodeTogether;
        float* memory = reinterpret_cast<float*>(warp.memory);
        warp.each([&](int lane) {
            const int64_t point = begin + lane;
            for (int32_t l = 0; l < levels && point < a.points; ++l) {
                const EncodeLevel& level = grid.level[first + l];
                float sum[F];
                encode_features<F>(a, level, a.position + 3 * point,
                                   encode_level_weight(a, level, point), sum);
                row_store<F>(memory + lane * kStride + l * F, sum);
            }
        });
        warp.sync();
        const int64_t row = int64_t{a.grid.levels} * F;
        float* out = a.features + begin * row + int64_t{first} * F;
        const int64_t last = a.points - begin;
        const int points = static_cast<int>(last < kWarpLanes ? last : kWarpLanes);
        warp.each([&](int lane) {
            if (row % 4 == 0 && levels * F % 4 == 0) {
                move<4>(memory, out, row, levels * F / 4, points, lane);
            } else {
                move<1>(memory, out, row, levels * F, points, lane);
            }
        });
    }

  private:
    // A lane's share of the numbers of all points, `pieces` of kSize a point.
    template <int kSize>
    XS_HD void move(const float* memory, float* out, int64_t row, int pieces, int points,
                    int lane) const {
        for (int k = lane; k < pieces * points; k += kWarpLanes) {
            const int point = k / pieces, at = k % pieces * kSize;
            float numbers[kSize];
            row_load<kSize>(memory + point * kStride + at, numbers);
            row_store<kSize>(out + point * row + at, numbers);
        }
    }
};

template <int F, class Launcher>
void encode_forward_pass(const Launcher& launcher, const EncodeArgs& a) {
    using Kernel = EncodeForwardKernel<F>;
    launcher.warps("encode", Kernel::warps(a), Kernel::kBytes, Kernel{a, encode_grid(a.grid)});
}

template <class Launcher>
void encode_forward_on(const Launcher& launcher, const EncodeArgs& a) {
    with_width(a.grid.width, [&](auto f) { encode_forward_pass<f>(launcher, a); });
}

template <class Launcher>
void encode_backward_on(const Launcher& launcher, const EncodeArgs& a) {
    with_width(a.grid.width, [&](auto f) {
        launcher.warps("encode_backward", encode_scatter_warps(a), 0,
                       EncodeScatterKernel<f>{a, encode_grid(a.grid),
                                              rows_aligned(a.grad_table, a.grad_stride, f)});
    });
}

template <class Launcher>
void encode_position_on(const Launcher& launcher, const EncodeArgs& args) {
    const EncodeArgs a = args;
    const EncodeGrid grid = encode_grid(a.grid);
    launcher.items("encode_backward_position", a.points,
                   [a, grid] XS_HD(int64_t point) { encode_position_one(a, grid, point); });
}

}  // namespace xs
