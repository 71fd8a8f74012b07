// Rows of the hash grid's table as a device thread reads them: in the widest loads that they allow,
// all eight of a cell before the first is used. Rows are aligned to their size (at most 16 bytes).
#pragma once

#include "ops/encode.h"

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
        encode_corners(level, encode_cell(level, position, a.smoothstep), fade);
    if (a.table != nullptr) {
        encode_sum<EncodeFloatRow<F>>(a.table, corners, sum);
    } else {
        encode_sum<EncodeHalfRow<F>>(a.table_half, corners, sum);
    }
}

}  // namespace xs
