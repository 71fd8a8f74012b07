// encode: features of points from a multiresolution hash grid, and its gradients.
//
// Source: Müller et al. 2022, "Instant neural graphics primitives", in tiny-cuda-nn's definition:
// the same cells, rows, offsets and hash, so that tables are interchangeable. Two points differ
// on purpose: positions are clamped to [0, 1] (there they wrap), and the fraction of a cell is
// rounded once (there twice), which moves it by less than float's own step in the position.
#pragma once

#include "fields.h"
#include "half.h"
#include "host_device.h"
#include "isa.h"

namespace xs {

// Functions here are static: each instruction set's object must keep its own copy, or the linker
// would hand one set's instructions to all.

constexpr int32_t kEncodeMaxLevels = 32;

// A hash grid, as every op that looks points up in one takes it.
struct GridArgs {
    const float* table;          // [rows, width]; null where table_half is given
    const Half* table_half;      // [rows, width]; arithmetic is float all the same
    const int64_t* offsets;      // [levels + 1] first row of a level, multiples of 8; host memory
    const int64_t* resolutions;  // [levels] vertices per axis; host memory
    const float* scales;         // [levels] cells per unit length; host memory
    int32_t levels;
    int32_t width;  // features a level: 1, 2, 4 or 8
    bool smoothstep;
    float footprint_scale;  // footprints are multiplied by it before they are compared with cells

    XS_FIELDS(table, table_half, offsets, resolutions, scales, levels, width, smoothstep,
              footprint_scale)
};

struct EncodeArgs {
    GridArgs grid;
    const float* position;   // [points, 3] in the unit cube; outside is clamped, NaN counts as 0
    const float* footprint;  // [points] unit-cube lengths; null: no level fades
    float* features;         // [points, levels * width], forward only
    const float* grad_features;  // [points, levels * width], backward only
    float* grad_table;           // [rows, width], added to; backward only
    int64_t grad_stride;         // from row to row of grad_table
    uint8_t* touched;      // [ceil(rows / 8)] bit r is set where row r was added to; may be null
    float* grad_position;  // [points, 3], written; gradient of the position only
    int64_t points;

    XS_FIELDS(grid, position, footprint, features, grad_features, grad_table, grad_stride, touched,
              grad_position, points)
};

struct EncodeLevel {
    int64_t offset;       // first row
    uint32_t rows;        // a power of two where not dense
    uint32_t resolution;  // vertices per axis
    float scale;
    bool dense;
};

// The levels by value: kernels of a device cannot read the host's arrays.
struct EncodeGrid {
    EncodeLevel level[kEncodeMaxLevels];
};

static inline EncodeGrid encode_grid(const GridArgs& a) {
    EncodeGrid grid{};
    for (int32_t l = 0; l < a.levels && l < kEncodeMaxLevels; ++l) {
        const uint64_t r = static_cast<uint64_t>(a.resolutions[l]);
        const uint64_t rows = static_cast<uint64_t>(a.offsets[l + 1] - a.offsets[l]);
        grid.level[l] = {a.offsets[l], static_cast<uint32_t>(rows), static_cast<uint32_t>(r),
                         a.scales[l], r * r * r <= rows};
    }
    return grid;
}

// x * y + z, rounded once.
XS_HD static inline float encode_fma(float x, float y, float z) {
#if defined(__FMA__) || defined(__CUDA_ARCH__)
    return fmaf(x, y, z);
#else
    return static_cast<float>(static_cast<double>(x) * y + z);  // without the slow call
#endif
}

// Clamps to [0, 1]; NaN becomes 0, so that no index can leave the table.
XS_HD static inline float encode_clamp(float x) {
    const float positive = x > 0.0f ? x : 0.0f;
    return positive < 1.0f ? positive : 1.0f;
}

// Row of the vertex (x, y, z) within its level. The vertex one beyond the last wraps into the next
// line of the level, as in tiny-cuda-nn; the sum stays below twice the rows.
XS_HD static inline uint32_t encode_row(const EncodeLevel& level, uint32_t x, uint32_t y,
                                        uint32_t z) {
    if (level.dense) {
        const uint32_t row = x + level.resolution * (y + level.resolution * z);
        return row < level.rows ? row : row - level.rows;
    }
    return (x ^ (y * 2654435761u) ^ (z * 805459861u)) & (level.rows - 1);
}

// Below this weight a level counts as faded out and is not looked up.
constexpr float kEncodeFaded = 1.0f / 256.0f;

// Weight of a level of `scale` cells a unit for a point of this footprint (already multiplied by
// footprint_scale): erf(1 / (sqrt(8) cells)), cells = footprint * scale. The error function is
// Abramowitz and Stegun 7.1.28, within 3e-7 (about 1e-6 with float's rounding); no exponential.
XS_HD static inline float encode_fade(float footprint, float scale) {
    const float a = 0.35355339059327373f / ((footprint > 0.0f ? footprint : 0.0f) * scale);
    float p = 0.0000430638f;
    p = p * a + 0.0002765672f;
    p = p * a + 0.0001520143f;
    p = p * a + 0.0092705272f;
    p = p * a + 0.0422820123f;
    p = p * a + 0.0705230784f;
    p = p * a + 1.0f;
    p *= p;
    p *= p;
    p *= p;
    p *= p;
    const float weight = 1.0f - 1.0f / p;
    return weight < kEncodeFaded ? 0.0f : weight;
}

// Where a point lies at one level: its cell, and per axis the weight of the cell's upper vertices
// with its derivative by the position.
struct EncodeCell {
    uint32_t cell[3];
    float weight[3];
    float slope[3];
};

XS_HD static inline EncodeCell encode_cell(const EncodeLevel& level, const float* position,
                                           bool smoothstep) {
    EncodeCell at;
    for (int axis = 0; axis < 3; ++axis) {
        const float x = encode_clamp(position[axis]);
        at.cell[axis] = static_cast<uint32_t>(encode_fma(x, level.scale, 0.5f));
        const float t = encode_fma(x, level.scale, 0.5f - static_cast<float>(at.cell[axis]));
        at.weight[axis] = smoothstep ? t * t * (3.0f - 2.0f * t) : t;
        at.slope[axis] = (smoothstep ? 6.0f * t * (1.0f - t) : 1.0f) * level.scale;
        if (!(position[axis] >= 0.0f && position[axis] <= 1.0f)) {
            at.slope[axis] = 0.0f;
        }
    }
    return at;
}

XS_HD static inline uint32_t encode_corner_row(const EncodeLevel& level, const EncodeCell& at,
                                               int corner) {
    return encode_row(level, at.cell[0] + (corner & 1), at.cell[1] + (corner >> 1 & 1),
                      at.cell[2] + (corner >> 2 & 1));
}

XS_HD static inline float encode_axis_weight(const EncodeCell& at, int corner, int axis) {
    return corner >> axis & 1 ? at.weight[axis] : 1.0f - at.weight[axis];
}

XS_HD static inline float encode_corner_weight(const EncodeCell& at, int corner) {
    return encode_axis_weight(at, corner, 0) * encode_axis_weight(at, corner, 1) *
           encode_axis_weight(at, corner, 2);
}

XS_HD static inline float encode_value(const EncodeArgs& a, int64_t index) {
    return a.grid.table != nullptr ? a.grid.table[index] : half_to_float(a.grid.table_half[index]);
}

// Weight of a level for a point: 1 without footprints.
XS_HD static inline float encode_level_weight(const EncodeArgs& a, const EncodeLevel& level,
                                              int64_t point) {
    return a.footprint == nullptr
               ? 1.0f
               : encode_fade(a.footprint[point] * a.grid.footprint_scale, level.scale);
}

// Adds the gradient of one point's features of one level by its position to `grad` [3].
XS_HD static inline void encode_position_gradient(const EncodeArgs& a, const EncodeLevel& level,
                                                  int32_t l, int64_t point, float* grad) {
    const float fade = encode_level_weight(a, level, point);
    if (fade == 0.0f) {
        return;
    }
    const EncodeCell at = encode_cell(level, a.position + 3 * point, a.grid.smoothstep);
    const float* grad_features = a.grad_features + (point * a.grid.levels + l) * a.grid.width;
    for (int corner = 0; corner < 8; ++corner) {
        const int64_t begin = (level.offset + encode_corner_row(level, at, corner)) * a.grid.width;
        float product = 0.0f;
        for (int32_t f = 0; f < a.grid.width; ++f) {
            product += grad_features[f] * encode_value(a, begin + f);
        }
        product *= fade;
        for (int axis = 0; axis < 3; ++axis) {
            const float others = encode_axis_weight(at, corner, (axis + 1) % 3) *
                                 encode_axis_weight(at, corner, (axis + 2) % 3);
            grad[axis] += (corner >> axis & 1 ? product : -product) * others * at.slope[axis];
        }
    }
}

// Writes the gradient of one point's position.
XS_HD static inline void encode_position_one(const EncodeArgs& a, const EncodeGrid& grid,
                                             int64_t point) {
    float grad[3] = {0.0f, 0.0f, 0.0f};
    for (int32_t l = 0; l < a.grid.levels; ++l) {
        encode_position_gradient(a, grid.level[l], l, point, grad);
    }
    for (int axis = 0; axis < 3; ++axis) {
        a.grad_position[3 * point + axis] = grad[axis];
    }
}

// encode_grid, or an error for sizes that no body has (CPU only).
EncodeGrid encode_checked_grid(const GridArgs& grid);

void encode_cpu(const EncodeArgs& args);
void encode_backward_cpu(const EncodeArgs& args);
void encode_backward_position_cpu(const EncodeArgs& args);
void encode_cuda(const EncodeArgs& args, void* stream);
void encode_backward_cuda(const EncodeArgs& args, void* stream);
void encode_backward_position_cuda(const EncodeArgs& args, void* stream);
// The device kernels' logic run on the host (encode/scatter.h).
void encode_emulated(const EncodeArgs& args);
void encode_backward_emulated(const EncodeArgs& args);
void encode_backward_position_emulated(const EncodeArgs& args);

// Pieces of the CPU bodies, one version for each instruction set, for callers with a loop over
// points of their own (XS_PICK or their own namespace's version). No threads inside.

// Features of points [begin, end), all levels, into out [end - begin, levels * width].
XS_DECLARE_SIMD(void encode_forward_chunk(const EncodeArgs& args, const EncodeGrid& grid,
                                          int64_t begin, int64_t end, float* out))

// Adds the table's gradient of points [begin, end) at one level to its rows [row_begin, row_end),
// counted within the level and multiples of 8, and sets their touched bits. `grad_features` holds
// the points from `begin` on, [end - begin, levels * width]. Additions to a row happen in the
// order of the points, so cutting a level into ranges of rows changes nothing.
XS_DECLARE_SIMD(void encode_backward_piece(const EncodeArgs& args, const EncodeGrid& grid,
                                           int32_t level, uint32_t row_begin, uint32_t row_end,
                                           int64_t begin, int64_t end, const float* grad_features))

// Writes the position's gradient of points [begin, end) to args.grad_position.
XS_DECLARE_SIMD(void encode_position_chunk(const EncodeArgs& args, const EncodeGrid& grid,
                                           int64_t begin, int64_t end))

}  // namespace xs
