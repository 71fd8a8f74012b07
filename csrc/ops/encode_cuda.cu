#include "ops/encode.h"
#include "parallel_cuda.cuh"

namespace xs {

// One thread a point and level; levels are the slow axis, so that the threads of a block read one
// level, which stays in the cache.
template <class Body>
static void for_each_level(const char* name, const EncodeArgs& a, void* stream, const Body& body) {
    const int64_t points = a.points;
    parallel_for_cuda(name, points * a.levels, static_cast<cudaStream_t>(stream),
                      [points, body] __device__(int64_t i) {
                          body(i % points, static_cast<int32_t>(i / points));
                      });
}

template <int F>
static void forward(const EncodeArgs& a, void* stream) {
    const EncodeGrid grid = encode_grid(a);
    for_each_level("encode", a, stream, [a, grid] __device__(int64_t point, int32_t l) {
        const EncodeLevel& level = grid.level[l];
        float sum[F] = {};
        const float fade = encode_level_weight(a, level, point);
        if (fade != 0.0f) {
            const EncodeCell at = encode_cell(level, a.position + 3 * point, a.smoothstep);
            for (int corner = 0; corner < 8; ++corner) {
                const int64_t begin = (level.offset + encode_corner_row(level, at, corner)) * F;
                const float weight = encode_corner_weight(at, corner) * fade;
                for (int f = 0; f < F; ++f) {
                    sum[f] += weight * encode_value(a, begin + f);
                }
            }
        }
        for (int f = 0; f < F; ++f) {
            a.features[(point * a.levels + l) * F + f] = sum[f];
        }
    });
}

template <int F>
static void backward(const EncodeArgs& a, void* stream) {
    const EncodeGrid grid = encode_grid(a);
    for_each_level("encode_backward", a, stream, [a, grid] __device__(int64_t point, int32_t l) {
        const EncodeLevel& level = grid.level[l];
        const float fade = encode_level_weight(a, level, point);
        if (fade == 0.0f) {
            return;
        }
        const EncodeCell at = encode_cell(level, a.position + 3 * point, a.smoothstep);
        for (int corner = 0; corner < 8; ++corner) {
            const int64_t row = level.offset + encode_corner_row(level, at, corner);
            const float weight = encode_corner_weight(at, corner) * fade;
            for (int f = 0; f < F; ++f) {
                atomicAdd(a.grad_table + row * a.grad_stride + f,
                          weight * a.grad_features[(point * a.levels + l) * F + f]);
            }
            if (a.touched != nullptr) {
                // Atomics are for words: the byte's bit within the aligned word around it. A word
                // may reach past the last byte, but stays in the allocation's granule.
                const auto address = reinterpret_cast<uintptr_t>(a.touched + (row >> 3));
                auto* word = reinterpret_cast<unsigned int*>(address & ~uintptr_t{3});
                const unsigned int bit = 1u << (8 * (address & 3) + (row & 7));
                if ((*word & bit) == 0) {
                    atomicOr(word, bit);
                }
            }
        }
    });
}

void encode_cuda(const EncodeArgs& a, void* stream) {
    switch (a.width) {
        case 1:
            return forward<1>(a, stream);
        case 2:
            return forward<2>(a, stream);
        case 4:
            return forward<4>(a, stream);
        default:
            return forward<8>(a, stream);
    }
}

void encode_backward_cuda(const EncodeArgs& a, void* stream) {
    switch (a.width) {
        case 1:
            return backward<1>(a, stream);
        case 2:
            return backward<2>(a, stream);
        case 4:
            return backward<4>(a, stream);
        default:
            return backward<8>(a, stream);
    }
}

void encode_backward_position_cuda(const EncodeArgs& args, void* stream) {
    const EncodeArgs a = args;
    const EncodeGrid grid = encode_grid(a);
    parallel_for_cuda("encode_backward_position", a.points, static_cast<cudaStream_t>(stream),
                      [a, grid] __device__(int64_t point) {
                          float grad[3] = {0.0f, 0.0f, 0.0f};
                          for (int32_t l = 0; l < a.levels; ++l) {
                              encode_position_gradient(a, grid.level[l], l, point, grad);
                          }
                          for (int axis = 0; axis < 3; ++axis) {
                              a.grad_position[3 * point + axis] = grad[axis];
                          }
                      });
}

}  // namespace xs
