// rasterize on a GPU: the passes of rasterize/items.h.
#include "launcher_cuda.cuh"
#include "rasterize/items.h"

namespace xs {

void rasterize_cuda(const RasterizeArgs& args, void* stream) {
    raster_passes(CudaLauncher(stream), args);
}

}  // namespace xs
