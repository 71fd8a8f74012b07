// rasterize's passes over a device: set up, clusters, faces, large faces, resolve. Cameras whose
// lens bends have one pass over pixels instead of those over clusters and faces.
#pragma once

#include "rasterize/faces.h"
#include "rasterize/lenses.h"

namespace xs {

// The camera lies on the device: each pass finds out for itself whether it has work.
template <class Launcher>
void raster_passes(const Launcher& launcher, const RasterizeArgs& args) {
    const RasterItems items = raster_items(args, args.scratch);
    const int64_t pixels = items.pixels();
    if (pixels <= 0) {
        return;
    }
    launcher.items("rasterize: set up", pixels,
                   [items] XS_HD(int64_t i) { raster_item_setup(items, i); });
    launcher.items("rasterize: clusters", args.clusters,
                   [items] XS_HD(int64_t i) { raster_item_cluster(items, i); });
    launcher.blocks("rasterize: faces", (args.clusters + kFacesTogether - 1) / kFacesTogether,
                    faces_memory(), nullptr, RasterFacesKernel{items});
    launcher.groups("rasterize: large faces", kItemLargeGroups, kItemLargeThreads,
                    [items] XS_HD(int64_t group, int64_t groups, int thread) {
                        raster_item_large(items, group, groups, thread);
                    });
    const int64_t tiles = ((int64_t{args.width} + kLensTile - 1) / kLensTile) *
                          ((int64_t{args.height} + kLensTile - 1) / kLensTile);
    launcher.blocks("rasterize: pixels", tiles, lens_memory(), nullptr, RasterLensKernel{items});
    launcher.items("rasterize: resolve", pixels,
                   [items] XS_HD(int64_t i) { raster_item_resolve(items, i); });
}

}  // namespace xs
