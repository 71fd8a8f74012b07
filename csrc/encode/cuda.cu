// encode on a GPU: warps that take points at some levels forwards, and scatter backwards.
#include "encode/scatter.h"
#include "launcher_cuda.cuh"

namespace xs {

void encode_cuda(const EncodeArgs& a, void* stream) {
    encode_forward_on(CudaLauncher(stream), a);
}

void encode_backward_cuda(const EncodeArgs& a, void* stream) {
    encode_backward_on(CudaLauncher(stream), a);
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
