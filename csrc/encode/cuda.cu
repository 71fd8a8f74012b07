// encode on a GPU: warps that take points at some levels forwards, and scatter backwards; a thread
// for the position of each point.
#include "encode/scatter.h"
#include "launcher_cuda.cuh"

namespace xs {

void encode_cuda(const EncodeArgs& a, void* stream) {
    encode_forward_on(CudaLauncher(stream), a);
}

void encode_backward_cuda(const EncodeArgs& a, void* stream) {
    encode_backward_on(CudaLauncher(stream), a);
}

void encode_backward_position_cuda(const EncodeArgs& a, void* stream) {
    encode_position_on(CudaLauncher(stream), a);
}

}  // namespace xs
