// adam on a GPU: see adam/passes.h.
#include "adam/passes.h"
#include "launcher_cuda.cuh"

namespace xs {

void adam_cuda(const AdamArgs& args, void* stream) {
    adam_passes(CudaLauncher(stream), args);
}

}  // namespace xs
