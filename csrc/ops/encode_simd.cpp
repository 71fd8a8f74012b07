#include "ops/encode.h"

namespace xs {
namespace XS_ISA {

namespace {

constexpr int kBlock = 16;

// Cells of a block of points, structure of arrays so that the compiler uses whole vectors.
struct Cells {
    uint32_t row[8][kBlock];
    float weight[8][kBlock];
};

template <bool kDense, bool kSmooth, bool kPower2>
void fill_cells(const float* px, const float* py, const float* pz, float scale, uint32_t resolution,
                uint32_t rows, Cells& cells) {
    const uint32_t sy = kDense ? resolution : 2654435761u;
    const uint32_t sz = kDense ? resolution * resolution : 805459861u;
    const uint32_t mask = rows - 1;
    uint32_t highest = 0;
#pragma omp simd reduction(max : highest)
    for (int i = 0; i < kBlock; ++i) {
        const float x = px[i] * scale + 0.5f;
        const float y = py[i] * scale + 0.5f;
        const float z = pz[i] * scale + 0.5f;
        const float lx = floorf(x);
        const float ly = floorf(y);
        const float lz = floorf(z);
        float wx = x - lx;
        float wy = y - ly;
        float wz = z - lz;
        if (kSmooth) {
            wx = wx * wx * (3.0f - 2.0f * wx);
            wy = wy * wy * (3.0f - 2.0f * wy);
            wz = wz * wz * (3.0f - 2.0f * wz);
        }
        const uint32_t x0 = static_cast<uint32_t>(static_cast<int32_t>(lx));
        const uint32_t y0 = static_cast<uint32_t>(static_cast<int32_t>(ly)) * sy;
        const uint32_t z0 = static_cast<uint32_t>(static_cast<int32_t>(lz)) * sz;
        for (int c = 0; c < 8; ++c) {
            const uint32_t xx = x0 + (c & 1);
            const uint32_t yy = c & 2 ? y0 + sy : y0;
            const uint32_t zz = c & 4 ? z0 + sz : z0;
            uint32_t index = kDense ? xx + yy + zz : xx ^ yy ^ zz;
            if (kPower2) {
                index &= mask;
            } else {
                // Inside the box an index passes the end by less than one level at most.
                index = index < index - rows ? index : index - rows;
                highest = index > highest ? index : highest;
            }
            cells.row[c][i] = index;
            cells.weight[c][i] =
                (c & 1 ? wx : 1.0f - wx) * (c & 2 ? wy : 1.0f - wy) * (c & 4 ? wz : 1.0f - wz);
        }
    }
}

void block_cells(const EncodeArgs& a, int level, const float* px, const float* py, const float* pz,
                 Cells& cells) {
    const float scale = a.scale[level];
    const uint32_t resolution = static_cast<uint32_t>(a.resolution[level]);
    const uint32_t rows = static_cast<uint32_t>(a.offsets[level + 1] - a.offsets[level]);
    const bool dense = is_dense(resolution, rows);
    const bool power2 = (rows & (rows - 1)) == 0;
    if (dense) {
        a.smoothstep ? fill_cells<true, true, false>(px, py, pz, scale, resolution, rows, cells)
                     : fill_cells<true, false, false>(px, py, pz, scale, resolution, rows, cells);
    } else if (power2) {
        a.smoothstep ? fill_cells<false, true, true>(px, py, pz, scale, resolution, rows, cells)
                     : fill_cells<false, false, true>(px, py, pz, scale, resolution, rows, cells);
    } else {
        a.smoothstep ? fill_cells<false, true, false>(px, py, pz, scale, resolution, rows, cells)
                     : fill_cells<false, false, false>(px, py, pz, scale, resolution, rows, cells);
    }
}

// Points [begin, begin + count) as structure of arrays, the last one repeated.
void gather_block(const EncodeArgs& a, int64_t begin, int count, float* px, float* py, float* pz) {
    for (int i = 0; i < kBlock; ++i) {
        const float* p = a.position + 3 * (begin + (i < count ? i : count - 1));
        px[i] = p[0];
        py[i] = p[1];
        pz[i] = p[2];
    }
}

template <int F>
void forward_range(const EncodeArgs& a, int level, int64_t begin, int64_t end) {
    const int width = a.levels * F;
    float px[kBlock], py[kBlock], pz[kBlock];
    Cells cells;
    const float* table = a.table + a.offsets[level] * F;
    for (int64_t at = begin; at < end; at += kBlock) {
        const int count = static_cast<int>(end - at < kBlock ? end - at : kBlock);
        gather_block(a, at, count, px, py, pz);
        block_cells(a, level, px, py, pz, cells);
        for (int i = 0; i < count; ++i) {
            float sum[F] = {};
            for (int c = 0; c < 8; ++c) {
                const float* row = table + static_cast<int64_t>(cells.row[c][i]) * F;
                const float w = cells.weight[c][i];
                for (int f = 0; f < F; ++f) {
                    sum[f] += w * row[f];
                }
            }
            const float fade =
                a.footprint ? level_weight(a.footprint[at + i], a.footprint_scale, a.scale[level])
                            : 1.0f;
            float* out = a.out + (at + i) * width + level * F;
            for (int f = 0; f < F; ++f) {
                out[f] = fade * sum[f];
            }
        }
    }
}

template <int F>
void backward_level(const EncodeArgs& a, int level) {
    const int width = a.levels * F;
    float px[kBlock], py[kBlock], pz[kBlock];
    Cells cells;
    float* table = a.grad_table + a.offsets[level] * F;
    uint8_t* touched = a.touched ? a.touched + (a.offsets[level] >> 3) : nullptr;
    for (int64_t at = 0; at < a.n; at += kBlock) {
        const int count = static_cast<int>(a.n - at < kBlock ? a.n - at : kBlock);
        gather_block(a, at, count, px, py, pz);
        block_cells(a, level, px, py, pz, cells);
        for (int i = 0; i < count; ++i) {
            const float fade =
                a.footprint ? level_weight(a.footprint[at + i], a.footprint_scale, a.scale[level])
                            : 1.0f;
            if (fade == 0.0f) {
                continue;
            }
            float g[F];
            for (int f = 0; f < F; ++f) {
                g[f] = fade * a.grad_out[(at + i) * width + level * F + f];
            }
            for (int c = 0; c < 8; ++c) {
                const uint32_t r = cells.row[c][i];
                float* row = table + static_cast<int64_t>(r) * F;
                const float w = cells.weight[c][i];
                for (int f = 0; f < F; ++f) {
                    row[f] += w * g[f];
                }
                if (touched) {
                    touched[r >> 3] = static_cast<uint8_t>(touched[r >> 3] | 1u << (r & 7));
                }
            }
        }
    }
}

}  // namespace

void encode_forward_range(const EncodeArgs& a, int level, int64_t begin, int64_t end) {
    switch (a.features) {
        case 1:
            return forward_range<1>(a, level, begin, end);
        case 2:
            return forward_range<2>(a, level, begin, end);
        case 4:
            return forward_range<4>(a, level, begin, end);
        default:
            return forward_range<8>(a, level, begin, end);
    }
}

void encode_backward_level(const EncodeArgs& a, int level) {
    switch (a.features) {
        case 1:
            return backward_level<1>(a, level);
        case 2:
            return backward_level<2>(a, level);
        case 4:
            return backward_level<4>(a, level);
        default:
            return backward_level<8>(a, level);
    }
}

}  // namespace XS_ISA
}  // namespace xs
