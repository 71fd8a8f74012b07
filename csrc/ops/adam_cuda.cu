#include "ops/adam.h"
#include "parallel_cuda.cuh"

namespace xs {

void adam_cuda(const AdamArgs& args, void* stream) {
    const AdamArgs a = args;
    const float scale1 = a.steps ? 1.0f : 1.0f / adam_correction(a.beta1, a.step);
    const float scale2 = a.steps ? 1.0f : 1.0f / adam_correction(a.beta2, a.step);
    parallel_for_cuda("adam", a.rows, static_cast<cudaStream_t>(stream),
                      [a, scale1, scale2] __device__(int64_t row) {
                          if (a.touched != nullptr && (a.touched[row >> 3] >> (row & 7) & 1) == 0) {
                              return;
                          }
                          adam_row(a, row, scale1, scale2);
                      });
}

}  // namespace xs
