// rasterize on a GPU: the passes of rasterize/items.h, launched in order.
#include "parallel_cuda.cuh"
#include "rasterize/items.h"

namespace xs {

static __global__ void large_kernel(RasterItems items) {
    raster_item_large(items, blockIdx.x, gridDim.x, static_cast<int>(threadIdx.x));
}

void rasterize_cuda(const RasterizeArgs& args, void* stream_pointer) {
    const auto stream = static_cast<cudaStream_t>(stream_pointer);
    const int64_t pixels = static_cast<int64_t>(args.width) * args.height;
    if (pixels <= 0) {
        return;
    }
    const RasterItems items = raster_items(args, args.scratch);
    parallel_for_cuda("rasterize: set up", pixels, stream,
                      [items] __device__(int64_t i) { raster_item_setup(items, i); });
    // The camera lies on the device: each pass finds out for itself whether it has work.
    parallel_for_cuda("rasterize: faces", int64_t{args.clusters} * kItemFaces, stream,
                      [items] __device__(int64_t i) { raster_item_faces(items, i); });
    large_kernel<<<1024, kItemLargeThreads, 0, stream>>>(items);
    check_cuda(cudaGetLastError(), "rasterize: large faces");
    parallel_for_cuda("rasterize: pixels", pixels, stream,
                      [items] __device__(int64_t i) { raster_item_pixel(items, i); });
    parallel_for_cuda("rasterize: resolve", pixels, stream,
                      [items] __device__(int64_t i) { raster_item_resolve(items, i); });
}

}  // namespace xs
