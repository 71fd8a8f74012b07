// encode: features of points from a multi-resolution hash grid.
//
// Source: Müller et al. 2022 (Instant-NGP), in tiny-cuda-nn's definition: position in the grid is
// x * scale + 0.5, so that resolution counts vertices; dense levels are indexed x fastest, the
// others by a hash of three primes.
#pragma once

#include "host_device.h"

namespace xs {

constexpr int kMaxLevels = 32;

struct EncodeArgs {
    const float* position;      // [n, 3] in the unit box; cells outside wrap like hashed ones
    const float* table;         // [rows, features]
    const int64_t* offsets;     // [levels + 1] first row of each level (host memory)
    const int32_t* resolution;  // [levels] (host memory)
    const float* scale;         // [levels] (host memory)
    const float* footprint;     // [n] in box lengths; null: no fading
    float footprint_scale;      // k of the fading weight
    int32_t levels;
    int32_t features;  // a level
    bool smoothstep;
    int64_t n;
    float* out;             // [n, levels * features] (forward)
    const float* grad_out;  // [n, levels * features] (backward)
    float* grad_table;      // [rows, features], added to (backward)
    uint8_t* touched;       // [ceil(rows / 8)], bits set (backward); may be null
};

// Weight of a level for a pixel that spans `ratio` = footprint * k / cell: erf(1 / sqrt(8
// ratio^2)).
XS_HD inline float level_weight(float footprint, float k, float scale) {
    const float ratio = footprint * k * scale;
    const float weight = ratio > 1e-6f ? erff(0.35355339f / ratio) : 1.0f;
    return weight < 1.0f / 256.0f ? 0.0f : weight;
}

// One level's cell of a point: rows of the eight corners (relative to the level) and weights.
struct GridCell {
    uint32_t row[8];
    float weight[8];
};

XS_HD inline void grid_cell(const float* p, float scale, uint32_t resolution, uint32_t rows,
                            bool dense, bool smoothstep, GridCell& cell) {
    uint32_t base[3];
    float w[3];
    for (int k = 0; k < 3; ++k) {
        const float x = p[k] * scale + 0.5f;
        const float low = floorf(x);
        base[k] = static_cast<uint32_t>(static_cast<int32_t>(low));
        const float f = x - low;
        w[k] = smoothstep ? f * f * (3.0f - 2.0f * f) : f;
    }
    const uint32_t sy = dense ? resolution : 2654435761u;
    const uint32_t sz = dense ? resolution * resolution : 805459861u;
    const uint32_t y0 = base[1] * sy;
    const uint32_t y1 = y0 + sy;
    const uint32_t z0 = base[2] * sz;
    const uint32_t z1 = z0 + sz;
    for (int c = 0; c < 8; ++c) {
        const uint32_t x = base[0] + (c & 1);
        const uint32_t y = c & 2 ? y1 : y0;
        const uint32_t z = c & 4 ? z1 : z0;
        const uint32_t index = dense ? x + y + z : x ^ y ^ z;
        cell.row[c] = index < rows ? index : index % rows;
        cell.weight[c] = (c & 1 ? w[0] : 1.0f - w[0]) * (c & 2 ? w[1] : 1.0f - w[1]) *
                         (c & 4 ? w[2] : 1.0f - w[2]);
    }
}

XS_HD inline bool is_dense(uint32_t resolution, uint32_t rows) {
    const uint64_t all = static_cast<uint64_t>(resolution) * resolution * resolution;
    return all <= rows;
}

void encode_cpu(const EncodeArgs& args);
void encode_backward_cpu(const EncodeArgs& args);

}  // namespace xs
