// encode on a GPU: a thread for each point and level forwards, warps that scatter backwards.
#include "encode/scatter.h"
#include "warp_cuda.cuh"

namespace xs {

// One thread a point and level; levels are the slow axis, so that the threads of a block read one
// level, which stays in the cache.
template <class Body>
static void for_each_level(const char* name, const EncodeArgs& a, void* stream, const Body& body) {
    const int64_t points = a.points;
    parallel_for_cuda(name, points * a.grid.levels, static_cast<cudaStream_t>(stream),
                      [points, body] __device__(int64_t i) {
                          body(i % points, static_cast<int32_t>(i / points));
                      });
}

template <int F>
static void forward(const EncodeArgs& a, void* stream) {
    const EncodeGrid grid = encode_grid(a.grid);
    for_each_level("encode", a, stream, [a, grid] __device__(int64_t point, int32_t l) {
        const EncodeLevel& level = grid.level[l];
        float sum[F];
        encode_features<F>(a, level, a.position + 3 * point, encode_level_weight(a, level, point),
                           sum);
        row_store<F>(a.features + (point * a.grid.levels + l) * F, sum);
    });
}

template <int F>
struct ScatterKernel {
    EncodeArgs args;
    EncodeGrid grid;
    bool aligned;

    __device__ void operator()(const DeviceWarp& warp, int64_t i) const {
        encode_scatter<F>(warp, args, grid, aligned, i);
    }
};

template <int F>
static void backward(const EncodeArgs& a, void* stream) {
    const bool aligned = rows_aligned(a.grad_table, a.grad_stride, F);
    for_each_warp_cuda("encode_backward", encode_scatter_warps(a), 0,
                       static_cast<cudaStream_t>(stream),
                       ScatterKernel<F>{a, encode_grid(a.grid), aligned});
}

void encode_cuda(const EncodeArgs& a, void* stream) {
    switch (a.grid.width) {
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
    switch (a.grid.width) {
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
    const EncodeGrid grid = encode_grid(a.grid);
    parallel_for_cuda("encode_backward_position", a.points, static_cast<cudaStream_t>(stream),
                      [a, grid] __device__(int64_t point) {
                          float grad[3] = {0.0f, 0.0f, 0.0f};
                          for (int32_t l = 0; l < a.grid.levels; ++l) {
                              encode_position_gradient(a, grid.level[l], l, point, grad);
                          }
                          for (int axis = 0; axis < 3; ++axis) {
                              a.grad_position[3 * point + axis] = grad[axis];
                          }
                      });
}

}  // namespace xs
