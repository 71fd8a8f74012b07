// rasterize for many threads that each take one item of a pass: the device's kernels, also run on
// the host by tests. Passes, in order: set up, faces, large faces, resolve; cameras whose lens
// bends have one pass over pixels instead of the two over faces.
#pragma once

#include "rasterize/box.h"

namespace xs {

constexpr int kItemFaces = 128;              // threads that share a cluster
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
    int32_t* found;       // [1] how many wanted to be there

    XS_HD int64_t pixels() const { return static_cast<int64_t>(a.width) * a.height; }
};

// Bytes of each array, in the order of RasterItems; every one a multiple of 8.
struct RasterItemsMemory {
    int64_t planes, column_x, row_y, words, large, found;
    explicit RasterItemsMemory(const RasterizeArgs& a)
        : planes(sizeof(RasterPlane) * kRasterPlanes),
          column_x(sizeof(double) * a.width),
          row_y(sizeof(double) * a.height),
          words(sizeof(uint64_t) * a.width * a.height),
          large(sizeof(RasterLarge) * kItemLargeRoom),
          found(8) {}
    int64_t total() const { return planes + column_x + row_y + words + large + found; }
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
    return w;
}

// Least of a word and `mine`, whoever else writes it.
XS_HD inline void word_least(uint64_t* word, uint64_t mine) {
    if (mine >= *static_cast<volatile uint64_t*>(word)) {
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

// Set up: item 0 the planes and the counter, items below the longer side the rays, all the words.
XS_HD inline void raster_item_setup(const RasterItems& w, int64_t i) {
    const RasterizeArgs& a = w.a;
    const Camera& c = *a.camera;
    if (i == 0) {
        *w.found = 0;
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

// Pixels `first`, `first + step`, ... of a box, row by row.
XS_HD inline void item_draw(const RasterItems& w, const RasterFace& face, int32_t id,
                            const RasterBox& box, int64_t first, int64_t step) {
    const RasterizeArgs& a = w.a;
    const double near = raster_near(*a.camera);
    const bool skewed = a.camera->skew != 0.0;
    const int32_t columns = box.columns();
    for (int64_t i = first; i < box.samples(); i += step) {
        const int32_t x = box.x0 + static_cast<int32_t>(i % columns);
        const int32_t y = box.y0 + static_cast<int32_t>(i / columns);
        const Vec3d ray =
            skewed ? pinhole_ray(*a.camera, a.left + x + a.offset_x, a.top + y + a.offset_y)
                   : Vec3d{w.column_x[x], w.row_y[y], 1.0};
        item_store(w.words + static_cast<int64_t>(y) * a.width + x, raster_hit(face, ray, near),
                   id);
    }
}

// Faces: kItemFaces items a cluster.
XS_HD inline void raster_item_faces(const RasterItems& w, int64_t i) {
    const RasterizeArgs& a = w.a;
    if (!is_pinhole(*a.camera)) {
        return;
    }
    const int32_t cluster = static_cast<int32_t>(i / kItemFaces);
    if (raster_excludes(w.planes, a.cluster_box + 6 * int64_t{cluster})) {
        return;
    }
    for (int64_t row = a.cluster_start[cluster] + i % kItemFaces;
         row < a.cluster_start[cluster + 1]; row += kItemFaces) {
        Vec3d corner[3];
        raster_corners(a, cluster, row, corner);
        const RasterBox box = raster_box(a, 0, a.height, corner);
        if (box.empty()) {
            continue;
        }
        const int32_t id = a.face_ids[row];
        if (box.samples() > kItemLargePixels) {
            const int32_t place = count_up(w.found);
            if (place < kItemLargeRoom) {
                w.large[place] = {
                    {corner[0], corner[1], corner[2]}, id, box.x0, box.y0, box.x1, box.y1};
                continue;
            }
        }
        const RasterFace face = raster_face(corner[0], corner[1], corner[2]);
        if (face.valid) {
            item_draw(w, face, id, box, 0, 1);
        }
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
            item_draw(w, face, f.id, {f.x0, f.y0, f.x1, f.y1}, thread, kItemLargeThreads);
        }
    }
}

// Whether a ray from `origin` may meet a box, a little enlarged.
XS_HD inline bool item_meets(const double* origin, const double* direction, const float* box) {
    double enter = 0.0, leave = 1e300;
    for (int i = 0; i < 3; ++i) {
        const double slack = 1e-6 * (fabs(box[i]) + fabs(box[3 + i]) + fabs(origin[i])) + 1e-30;
        const double low = box[i] - slack - origin[i], high = box[3 + i] + slack - origin[i];
        if (direction[i] == 0.0) {
            if (low > 0.0 || high < 0.0) {
                return false;
            }
            continue;
        }
        const double one = low / direction[i], other = high / direction[i];
        enter = fmax(enter, fmin(one, other));
        leave = fmin(leave, fmax(one, other));
    }
    return enter <= leave * (1.0 + 1e-9);
}

// Pixels of a camera whose lens bends: each ray against the clusters that it meets.
XS_HD inline void raster_item_pixel(const RasterItems& w, int64_t i) {
    const RasterizeArgs& a = w.a;
    const Camera& c = *a.camera;
    if (is_pinhole(c)) {
        return;
    }
    double solid_angle = 0.0;
    const Vec3d ray = camera_ray(c, a.left + i % a.width + a.offset_x,
                                 a.top + i / a.width + a.offset_y, &solid_angle);
    if (ray.x == 0.0 && ray.y == 0.0 && ray.z == 0.0) {
        return;
    }
    double origin[3], direction[3];
    for (int k = 0; k < 3; ++k) {
        origin[k] = -(c.rotation[k] * c.translation[0] + c.rotation[3 + k] * c.translation[1] +
                      c.rotation[6 + k] * c.translation[2]);
        direction[k] =
            c.rotation[k] * ray.x + c.rotation[3 + k] * ray.y + c.rotation[6 + k] * ray.z;
    }
    for (int32_t cluster = 0; cluster < a.clusters; ++cluster) {
        if (!item_meets(origin, direction, a.cluster_box + 6 * static_cast<int64_t>(cluster))) {
            continue;
        }
        for (int64_t row = a.cluster_start[cluster]; row < a.cluster_start[cluster + 1]; ++row) {
            Vec3d corner[3];
            raster_corners(a, cluster, row, corner);
            const RasterFace face = raster_face(corner[0], corner[1], corner[2]);
            if (face.valid) {
                item_store(w.words + i, raster_hit(face, ray, raster_near(c)), a.face_ids[row]);
            }
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

// The passes in order. The camera lies on the device: each pass finds out for itself whether it has
// work.
template <class Launcher>
void raster_passes(const Launcher& launcher, const RasterizeArgs& args) {
    const RasterItems items = raster_items(args, args.scratch);
    const int64_t pixels = items.pixels();
    if (pixels <= 0) {
        return;
    }
    launcher.items("rasterize: set up", pixels,
                   [items] XS_HD(int64_t i) { raster_item_setup(items, i); });
    launcher.items("rasterize: faces", int64_t{args.clusters} * kItemFaces,
                   [items] XS_HD(int64_t i) { raster_item_faces(items, i); });
    launcher.groups("rasterize: large faces", kItemLargeGroups, kItemLargeThreads,
                    [items] XS_HD(int64_t group, int64_t groups, int thread) {
                        raster_item_large(items, group, groups, thread);
                    });
    launcher.items("rasterize: pixels", pixels,
                   [items] XS_HD(int64_t i) { raster_item_pixel(items, i); });
    launcher.items("rasterize: resolve", pixels,
                   [items] XS_HD(int64_t i) { raster_item_resolve(items, i); });
}

}  // namespace xs
