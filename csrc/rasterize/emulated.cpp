// rasterize's device passes, run on the host for tests.
#include "rasterize/items.h"

namespace xs {

int64_t rasterize_scratch(const RasterizeArgs& args) {
    return RasterItemsMemory(args).total();
}

void rasterize_emulated(const RasterizeArgs& args) {
    const int64_t pixels = static_cast<int64_t>(args.width) * args.height;
    if (pixels <= 0) {
        return;
    }
    const RasterItems items = raster_items(args, args.scratch);
    for (int64_t i = 0; i < pixels; ++i) {
        raster_item_setup(items, i);
    }
    for (int64_t i = int64_t{args.clusters} * kItemFaces - 1; i >= 0; --i) {
        raster_item_faces(items, i);  // backwards: no order may matter
    }
    constexpr int kGroups = 3;
    for (int group = 0; group < kGroups; ++group) {
        for (int thread = 0; thread < kItemLargeThreads; ++thread) {
            raster_item_large(items, group, kGroups, thread);
        }
    }
    for (int64_t i = 0; i < pixels; ++i) {
        raster_item_pixel(items, i);
    }
    for (int64_t i = 0; i < pixels; ++i) {
        raster_item_resolve(items, i);
    }
}

}  // namespace xs
