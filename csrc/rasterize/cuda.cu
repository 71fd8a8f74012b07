// rasterize on a GPU: the passes of rasterize/passes.h.
#include "launcher_cuda.cuh"
#include "rasterize/passes.h"

namespace xs {

void rasterize_cuda(const RasterizeArgs& args, void* stream) {
    raster_passes(CudaLauncher(stream), args);
}

int64_t rasterize_scratch_cuda(const RasterizeArgs& args) {
    return RasterItemsMemory(args).total();
}

}  // namespace xs
