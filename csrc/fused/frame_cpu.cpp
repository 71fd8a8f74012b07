// fused_frame on the CPU: tiles of the picture over threads; and the device's passes on the host.
#include <algorithm>
#include <cstring>
#include <vector>

#include "check.h"
#include "fused/frame.h"
#include "fused/frame_warp.h"
#include "isa.h"
#include "launcher.h"
#include "shade/bf16.h"
#include "shade/pieces.h"

namespace xs {

namespace {

// Pixels of a tile: its features (256 KB at 128 a pixel) stay in the second-level cache, and a
// level of the grid sees neighbours together.
constexpr int kTileWidth = 32;
constexpr int kTileHeight = 16;
constexpr int kTilePixels = kTileWidth * kTileHeight;

// The covered pixels of one tile on their way to colours; a thread keeps one.
struct Tile {
    int count;
    int64_t place[kTilePixels];  // in the rectangle, row-major
    int32_t face_id[kTilePixels];
    float pixel[kTilePixels][2];
    int32_t zero[kTilePixels];  // the only camera; the only exposure
    float position[kTilePixels][3];
    float direction[kTilePixels][3];
    float footprint[kTilePixels];
    float depth[kTilePixels];
    float rgb[kTilePixels][3];
    ShadeBuffer features;
    ShadeBuffer scratch;
};

// Fills the tile with the covered pixels of [x, x_end) x [y, y_end), and the others with white.
void gather_pixels(const FusedFrameArgs& a, int64_t x_begin, int64_t x_end, int64_t y_begin,
                   int64_t y_end, Tile& tile) {
    tile.count = 0;
    for (int64_t y = y_begin; y < y_end; ++y) {
        const int32_t* row = a.face_id + y * a.width;
        std::memset(a.rgb + 3 * (y * a.width + x_begin), 255, 3 * (x_end - x_begin));
        int32_t least = -1;  // negative: no pixel of the row is covered
        for (int64_t x = x_begin; x < x_end; ++x) {
            least &= row[x];
        }
        if (least < 0) {
            continue;
        }
        for (int64_t x = x_begin; x < x_end; ++x) {
            const int64_t place = y * a.width + x;
            const int i = tile.count;
            tile.place[i] = place;
            tile.face_id[i] = a.face_id[place];
            tile.pixel[i][0] = static_cast<float>(a.left + x) + a.offset_x;
            tile.pixel[i][1] = static_cast<float>(a.top + y) + a.offset_y;
            tile.zero[i] = 0;
            tile.count += a.face_id[place] >= 0;
        }
    }
}

// Surface points of the tile's pixels, in the unit cube of the grid.
void find_points(const FusedFrameArgs& a, Tile& tile) {
    const InterpolateArgs points{
        {a.vertices, a.faces, a.camera, tile.zero, tile.pixel[0], tile.face_id},
        nullptr,
        tile.count,
        tile.position[0],
        nullptr,
        tile.direction[0],
        tile.footprint,
        tile.depth};
    XS_PICK(interpolate_chunk)(points, 0, tile.count);
    for (int i = 0; i < tile.count; ++i) {
        for (int axis = 0; axis < 3; ++axis) {
            float& x = tile.position[i][axis];
            x = (x - a.box[axis]) * a.box[3 + axis] + 0.5f;
        }
        tile.footprint[i] *= a.footprint_unit;
    }
}

// Runs all tiles; shade(chunk, scratch) makes a chunk's colours.
template <class Shade>
void run_tiles(const FusedFrameArgs& a, int64_t scratch_size, const Shade& shade) {
    const EncodeGrid grid = encode_checked_grid(a.grid);
    const auto encode = XS_PICK(encode_forward_chunk);
    const int32_t channels = a.grid.levels * a.grid.width;
    const int64_t columns = (a.width + kTileWidth - 1) / kTileWidth;
    const int64_t rows = (a.height + kTileHeight - 1) / kTileHeight;
    parallel_for(columns * rows, [&](int64_t index) {
        static thread_local Tile tile;
        const int64_t x = index % columns * kTileWidth;
        const int64_t y = index / columns * kTileHeight;
        gather_pixels(a, x, std::min(x + kTileWidth, a.width), y,
                      std::min(y + kTileHeight, a.height), tile);
        if (tile.count == 0) {
            return;
        }
        find_points(a, tile);
        float* features = tile.features.get(int64_t{kTilePixels} * channels);
        EncodeArgs args{};
        args.grid = a.grid;
        args.position = tile.position[0];
        args.footprint = a.footprint_unit > 0.0f ? tile.footprint : nullptr;
        encode(args, grid, 0, tile.count, features);
        for (int begin = 0; begin < tile.count; begin += kShadeRays) {
            ShadeChunk chunk{};
            chunk.rays = std::min(tile.count - begin, int{kShadeRays});
            chunk.features = features + int64_t{begin} * channels;
            chunk.direction = tile.direction[begin];
            chunk.exposure = a.shade.exposure;
            chunk.photo = a.shade.exposure == nullptr ? nullptr : tile.zero;
            chunk.rgb = tile.rgb[begin];
            shade(chunk, tile.scratch.get(scratch_size));
        }
        for (int i = 0; i < tile.count; ++i) {
            for (int c = 0; c < 3; ++c) {
                a.rgb[3 * tile.place[i] + c] = frame_byte(tile.rgb[i][c], a.range);
            }
        }
    });
}

bool use_bf16(const FusedFrameArgs& a) {
    return active_isa() == Isa::avx512bf16 &&
           shade_bf16_fits(a.grid.levels * a.grid.width, a.shade.hidden);
}

void run_relu(const FusedFrameArgs& a) {
    ShadeBuffer packed, pairs;
    ShadeReluNet net{a.grid.levels * a.grid.width, a.shade.hidden, a.shade.sh_degree, nullptr};
    float* buffer = packed.get(net.packed_size());
    shade_relu_pack(net, a.shade.weights, buffer);
    net.packed = buffer;
#if XSCALE_HAS_BF16
    if (use_bf16(a)) {
        const ShadeBf16Net half = avx512bf16::shade_relu_bf16_pack(net, pairs);
        run_tiles(a, avx512bf16::shade_bf16_scratch_size(net.width),
                  [&](const ShadeChunk& chunk, float* scratch) {
                      avx512bf16::shade_relu_bf16(half, chunk, scratch);
                  });
        return;
    }
#endif
    const auto run = XS_PICK(shade_relu_chunk_forward);
    run_tiles(a, net.scratch_size(),
              [&](const ShadeChunk& chunk, float* scratch) { run(net, chunk, scratch); });
}

void run_film(const FusedFrameArgs& a) {
    ShadeBuffer packed, pairs;
    ShadeFilmNet net(a.grid.levels * a.grid.width, a.shade.hidden);
    float* buffer = packed.get(net.packed_size);
    shade_film_pack(net, a.shade.weights, a.shade.light, buffer);
    net.packed = buffer;
#if XSCALE_HAS_BF16
    if (use_bf16(a)) {
        const ShadeBf16Net half = avx512bf16::shade_film_bf16_pack(net, a.shade.exposure, pairs);
        run_tiles(a, avx512bf16::shade_bf16_scratch_size(net.width),
                  [&](const ShadeChunk& chunk, float* scratch) {
                      avx512bf16::shade_film_bf16(half, chunk, scratch);
                  });
        return;
    }
#endif
    const auto run = XS_PICK(shade_film_chunk_forward);
    run_tiles(a, net.scratch_size,
              [&](const ShadeChunk& chunk, float* scratch) { run(net, chunk, scratch); });
}

}  // namespace

void fused_frame_cpu(const FusedFrameArgs& a) {
    if (a.shader == kFrameRelu) {
        run_relu(a);
    } else {
        run_film(a);
    }
}

void fused_frame_emulated(const FusedFrameArgs& a) {
    frame_passes(HostLauncher(), a);
}

int64_t fused_frame_scratch(const FusedFrameArgs& a) {
    return frame_net(a).packed_bytes();
}

}  // namespace xs
