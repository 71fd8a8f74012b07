// rasterize for the many threads of a device: memory and pieces of its passes, which are listed in
// rasterize/passes.h and also run on the host by tests.
#pragma once

#include "rasterize/box.h"

namespace xs {

constexpr int kItemLargePixels = 1024;       // faces with larger boxes wait for the second pass
constexpr int32_t kItemLargeRoom = 1 << 16;  // of them; what finds no room is drawn at once
constexpr int kItemLargeThreads = 256;       // threads that share a large face
constexpr int kItemLargeGroups = 1024;       // large faces under way at once

struct RasterItems {
    RasterizeArgs a;
    RasterPlane* planes;  // [kRasterPlanes] near plane and the rectangle's frustum, a pixel wider
    double* column_x;     // [width] rays of a camera without skew
    double* row_y;        // [height]
    uint64_t* words;      // [height, width]
    RasterLarge* large;   // [kItemLargeRoom]
    int32_t* found;       // [2] how many wanted to be there; number of clusters in view
    int32_t* clusters;    // [clusters] those in view

    XS_HD int64_t pixels() const { return static_cast<int64_t>(a.width) * a.height; }
};

// Bytes of each array, in the order of RasterItems; every one a multiple of 8.
struct RasterItemsMemory {
    int64_t planes, column_x, row_y, words, large, found, clusters;
    explicit RasterItemsMemory(const RasterizeArgs& a)
        : planes(sizeof(RasterPlane) * kRasterPlanes),
          column_x(sizeof(double) * a.width),
          row_y(sizeof(double) * a.height),
          words(sizeof(uint64_t) * a.width * a.height),
          large(sizeof(RasterLarge) * kItemLargeRoom),
          found(8),
          clusters((int64_t{a.clusters} + 1) / 2 * 8) {}
    int64_t total() const { return planes + column_x + row_y + words + large + found + clusters; }
};

inline RasterItems raster_items(const RasterizeArgs& a, void* memory) {
    const RasterItemsMemory size(a);
    char* next = static_cast<char*>(memory);
    const auto take = [&next](int64_t bytes) {
        char* taken = next;
        next += bytes;
        return taken;
    };
    RasterItems w{};
    w.a = a;
    w.planes = reinterpret_cast<RasterPlane*>(take(size.planes));
    w.column_x = reinterpret_cast<double*>(take(size.column_x));
    w.row_y = reinterpret_cast<double*>(take(size.row_y));
    w.words = reinterpret_cast<uint64_t*>(take(size.words));
    w.large = reinterpret_cast<RasterLarge*>(take(size.large));
    w.found = reinterpret_cast<int32_t*>(take(size.found));
    w.clusters = reinterpret_cast<int32_t*>(take(size.clusters));
    return w;
}

// Least of a word and `mine`, whoever else writes it.
XS_HD inline void word_least(uint64_t* word, uint64_t mine) {
    if (mine >= racing_load(word)) {
        return;  // most late fragments end here, without an atomic
    }
#if defined(__CUDA_ARCH__)
    static_assert(sizeof(unsigned long long) == sizeof(uint64_t), "a word is 64 bits");
    atomicMin(reinterpret_cast<unsigned long long*>(word), static_cast<unsigned long long>(mine));
#else
    *word = mine;
#endif
}

XS_HD inline int32_t count_up(int32_t* counter) {
#if defined(__CUDA_ARCH__)
    return atomicAdd(counter, 1);
#else
    return (*counter)++;
#endif
}

XS_HD inline void item_store(uint64_t* word, double t, int32_t id) {
    const float depth = static_cast<float>(t);
    uint32_t bits;
    memcpy(&bits, &depth, sizeof bits);
    if (bits < 0x7f800000u) {
        word_least(word, static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(id));
    }
}

// Set up: item 0 the planes and the counters, items below the longer side the rays, all the words.
XS_HD inline void raster_item_setup(const RasterItems& w, int64_t i) {
    const RasterizeArgs& a = w.a;
    const Camera& c = *a.camera;
    if (i == 0) {
        w.found[0] = w.found[1] = 0;
        raster_frustum(a, w.planes);
    }
    if (i < a.width) {
        w.column_x[i] = pinhole_ray(c, a.left + i + a.offset_x, 0.0).x;
    }
    if (i < a.height) {
        w.row_y[i] = pinhole_ray(c, 0.0, a.top + i + a.offset_y).y;
    }
    w.words[i] = kRasterMiss;
}

// Draws sample (x, y) of a face.
XS_HD inline void item_sample(const RasterItems& w, const RasterFace& face, int32_t id, double near,
                              bool skewed, int32_t x, int32_t y) {
    const RasterizeArgs& a = w.a;
    const Vec3d ray = skewed
                          ? pinhole_ray(*a.camera, a.left + x + a.offset_x, a.top + y + a.offset_y)
                          : Vec3d{w.column_x[x], w.row_y[y], 1.0};
    item_store(w.words + static_cast<int64_t>(y) * a.width + x, raster_hit(face, ray, near), id);
}

// All samples of a box, by one thread.
XS_HD inline void item_draw(const RasterItems& w, const RasterFace& face, int32_t id,
                            const RasterBox& box) {
    const double near = raster_near(*w.a.camera);
    const bool skewed = w.a.camera->skew != 0.0;
    for (int32_t y = box.y0; y <= box.y1; ++y) {
        for (int32_t x = box.x0; x <= box.x1; ++x) {
            item_sample(w, face, id, near, skewed, x, y);
        }
    }
}

// A thread's share of them: every `threads`-th, row by row.
XS_HD inline void item_draw_share(const RasterItems& w, const RasterFace& face, int32_t id,
                                  const RasterBox& box, int thread, int threads) {
    const double near = raster_near(*w.a.camera);
    const bool skewed = w.a.camera->skew != 0.0;
    const int32_t columns = box.columns();
    for (int64_t i = thread; i < box.samples(); i += threads) {
        item_sample(w, face, id, near, skewed, box.x0 + static_cast<int32_t>(i % columns),
                    box.y0 + static_cast<int32_t>(i / columns));
    }
}

// A face with its samples' box: drawn, or left to the pass over large faces.
XS_HD inline void item_face(const RasterItems& w, const Vec3d (&corner)[3], int32_t id,
                            const RasterBox& box) {
    if (box.empty()) {
        return;
    }
    if (box.samples() > kItemLargePixels) {
        const int32_t place = count_up(w.found);
        if (place < kItemLargeRoom) {
            w.large[place] = {
                {corner[0], corner[1], corner[2]}, id, box.x0, box.y0, box.x1, box.y1};
            return;
        }
    }
    const RasterFace face = raster_face(corner[0], corner[1], corner[2]);
    if (face.valid) {
        item_draw(w, face, id, box);
    }
}

// Clusters: those that the rectangle may show.
XS_HD inline void raster_item_cluster(const RasterItems& w, int64_t i) {
    if (is_pinhole(*w.a.camera) && !raster_excludes(w.planes, w.a.cluster_box + 6 * i)) {
        w.clusters[count_up(w.found + 1)] = static_cast<int32_t>(i);
    }
}

// Large faces: `thread` of kItemLargeThreads takes its share of the pixels of faces `group`,
// `group + groups`, ...
XS_HD inline void raster_item_large(const RasterItems& w, int64_t group, int64_t groups,
                                    int thread) {
    const int32_t count = *w.found < kItemLargeRoom ? *w.found : kItemLargeRoom;
    for (int64_t k = group; k < count; k += groups) {
        const RasterLarge& f = w.large[k];
        const RasterFace face = raster_face(f.corner[0], f.corner[1], f.corner[2]);
        if (face.valid) {
            item_draw_share(w, face, f.id, {f.x0, f.y0, f.x1, f.y1}, thread, kItemLargeThreads);
        }
    }
}

// Resolve: words to ids and depths.
XS_HD inline void raster_item_resolve(const RasterItems& w, int64_t i) {
    const uint32_t bits = static_cast<uint32_t>(w.words[i] >> 32);
    w.a.face_id[i] = static_cast<int32_t>(w.words[i] & 0xffffffffu);
    if (w.a.depth != nullptr) {
        memcpy(w.a.depth + i, &bits, sizeof bits);
    }
}

}  // namespace xs
