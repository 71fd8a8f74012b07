// fused_frame for a warp: the device kernel, also run on the host by tests.
//
// A warp takes 8 x 4 pixels from face ids to bytes on its own. Each lane finds its pixel's surface
// point and features; then the pixels are the rows of the shader's matrix products, whose operands
// are half floats and whose sums are float. What goes from layer to layer stays in the warp's
// memory.
#pragma once

#include "encode/scatter.h"
#include "fused/frame_net.h"

namespace xs {

constexpr int kFrameTileWidth = 8;
constexpr int kFrameTileHeight = kWarpLanes / kFrameTileWidth;
// A sine of an argument of any size up to about 1e5: reduced first, by the device's fast one then.
XS_HD inline float frame_sine(float x) {
    const float turns = rintf(x * 0.15915494309189535f);
    const float rest = fmaf(-turns, 6.28125f, x);
    const float angle = fmaf(-turns, 1.9353071795864769e-3f, rest);
#if defined(__CUDA_ARCH__)
    return __sinf(angle);
#else
    return sinf(angle);
#endif
}

// The packed weights, in global memory or in what the warps of a block share.
struct FrameWeights {
    const Half* halves;
    const float* biases;

    XS_HD FrameWeights(const FrameNet& net, const void* memory)
        : halves(static_cast<const Half*>(memory)),
          biases(reinterpret_cast<const float*>(halves + net.halves)) {}
};

// A layer's inputs: 32 rows of half floats, 16-byte aligned.
struct FrameRows {
    Half* row;
    int32_t stride;
};

// kSums products at once, with the same outputs: writes value(row, column, sums) to `out`. Outputs
// are made in strips of kStrip tiles of 8 columns.
template <int kSums, int kStrip, class Warp, class Value>
XS_HD inline void frame_product(const Warp& warp, const FrameNet& net, const FrameWeights& packed,
                                const int (&layers)[kSums], const FrameRows (&inputs)[kSums],
                                const FrameRows& out, const Value& value) {
    constexpr int kHalves = kWarpLanes / 16;  // tiles of 16 rows
    const int tiles = net.hidden / 8;
    for (int strip = 0; strip < tiles; strip += kStrip) {
        typename Warp::template PerLane<MmaC> sum[kSums][kHalves][kStrip];
        warp.each([&](int lane) {
            XS_UNROLL
            for (int s = 0; s < kSums; ++s) {
                const float* bias = packed.biases + net.layers[layers[s]].bias;
                XS_UNROLL
                for (int j = 0; j < kStrip; ++j) {
                    XS_UNROLL
                    for (int i = 0; i < 4; ++i) {
                        const int column = (strip + j) * 8 + mma_column(lane, i);
                        const float begin = column < net.hidden ? bias[column] : 0.0f;
                        XS_UNROLL
                        for (int half = 0; half < kHalves; ++half) {
                            sum[s][half][j][lane].value[i] = begin;
                        }
                    }
                }
            }
        });
        XS_UNROLL
        for (int s = 0; s < kSums; ++s) {
            const FrameLayer& layer = net.layers[layers[s]];
            const FrameRows& in = inputs[s];
            for (int step = 0; step < layer.steps; ++step) {
                typename Warp::template PerLane<MmaA> a[kHalves];
                warp.each([&](int lane) {
                    XS_UNROLL
                    for (int half = 0; half < kHalves; ++half) {
                        XS_UNROLL
                        for (int i = 0; i < 4; ++i) {
                            const int row = half * 16 + mma_row(lane, 2 * (i % 2));
                            const int column = step * 16 + mma_column(lane, 0) + i / 2 * 8;
                            a[half][lane].pair[i] = load_pair(in.row + row * in.stride + column);
                        }
                    }
                });
                // All of the strip's are under way before the first is used. Past the last tile the
                // last one is taken again, and its sums are not: no branch parts the loads.
                typename Warp::template PerLane<MmaB> b[kStrip];
                warp.each([&](int lane) {
                    XS_UNROLL
                    for (int j = 0; j < kStrip; ++j) {
                        const int tile = strip + j < tiles ? strip + j : tiles - 1;
                        const int place = (step * tiles + tile) * kWarpLanes + lane;
                        b[j][lane] = load_four(packed.halves + layer.weight + place * 4);
                    }
                });
                XS_UNROLL
                for (int j = 0; j < kStrip; ++j) {
                    XS_UNROLL
                    for (int half = 0; half < kHalves; ++half) {
                        warp.product(a[half], b[j], sum[s][half][j]);
                    }
                }
            }
        }
        warp.each([&](int lane) {
            XS_UNROLL
            for (int j = 0; j < kStrip && strip + j < tiles; ++j) {
                XS_UNROLL
                for (int half = 0; half < kHalves; ++half) {
                    XS_UNROLL
                    for (int i = 0; i < 4; i += 2) {
                        const int row = half * 16 + mma_row(lane, i);
                        const int column = (strip + j) * 8 + mma_column(lane, 0);
                        float result[2];
                        XS_UNROLL
                        for (int c = 0; c < 2; ++c) {
                            float sums[kSums];
                            XS_UNROLL
                            for (int s = 0; s < kSums; ++s) {
                                sums[s] = sum[s][half][j][lane].value[i + c];
                            }
                            result[c] = value(row, column + c, sums);
                        }
                        store_pair(out.row + row * out.stride + column,
                                   half_pair(result[0], result[1]));
                    }
                }
            }
        });
    }
    warp.sync();
}

// The layers of either shader, from features in `x` to the last layer's inputs, whose rows are
// returned. `direction` [32, 3] are the rays'.
template <int kShader, class Warp>
XS_HD inline FrameRows frame_layers(const Warp& warp, const FusedFrameArgs& a, const FrameNet& net,
                                    const FrameWeights& packed, const FrameRows& x,
                                    const FrameRows& y, const float* direction) {
    using N = FrameNet;
    if constexpr (kShader == kFrameRelu) {
        const auto relu = [](int, int, const float (&sum)[1]) {
            return sum[0] > 0.0f || sum[0] != sum[0] ? sum[0] : 0.0f;
        };
        warp.each([&](int lane) {
            float harmonics[kMaxHarmonics];
            const float* d = direction + 3 * lane;
            spherical_harmonics<float>(d[0], d[1], d[2], a.shade.sh_degree, harmonics);
            for (int i = 0; i < kMaxHarmonics; ++i) {
                y.row[lane * y.stride + net.hidden + i] = float_to_half(harmonics[i]);
            }
        });
        frame_product<1, 8>(warp, net, packed, {N::kFirst}, {x}, y, relu);
        frame_product<1, 8>(warp, net, packed, {N::kSecond}, {y}, x, relu);
        return x;
    } else {
        const auto sine = [](int, int, const float (&sum)[1]) { return frame_sine(sum[0]); };
        frame_product<1, 8>(warp, net, packed, {N::kFirst}, {x}, y, sine);
        frame_product<1, 8>(warp, net, packed, {N::kSecond}, {y}, x, sine);
        frame_product<1, 8>(warp, net, packed, {N::kMapping}, {x}, y,
                            [](int, int, const float (&sum)[1]) {
                                return sum[0] > 0.0f ? sum[0] : kLeakySlope * sum[0];
                            });
        const float* first = a.shade.weights + net.direction;
        frame_product<2, 4>(warp, net, packed, {N::kFrequency1, N::kPhase1}, {y, y}, x,
                            [&](int row, int column, const float (&sum)[2]) {
                                const float* d = direction + 3 * row;
                                const float* w = first + 3 * column;
                                float u = first[3 * net.hidden + column];
                                for (int axis = 0; axis < 3; ++axis) {
                                    u += w[axis] * d[axis];
                                }
                                return frame_sine(sum[0] * u + sum[1]);
                            });
        const FrameRows out{x.row + net.hidden, x.stride};
        frame_product<3, 2>(
            warp, net, packed, {N::kFrequency2, N::kPhase2, N::kDirection}, {y, y, x}, out,
            [](int, int, const float (&sum)[3]) { return frame_sine(sum[0] * sum[2] + sum[1]); });
        return out;
    }
}

// A level's features into a row.
template <int F>
XS_HD inline void frame_store(Half* to, const float (&feature)[F]) {
    if constexpr (F == 8) {
        store_eight(to, {half_pair(feature[0], feature[1]), half_pair(feature[2], feature[3]),
                         half_pair(feature[4], feature[5]), half_pair(feature[6], feature[7])});
    } else if constexpr (F == 1) {
        *to = float_to_half(feature[0]);
    } else {
        for (int f = 0; f < F; f += 2) {
            store_pair(to + f, half_pair(feature[f], feature[f + 1]));
        }
    }
}

// One lane's pixel: the surface point in the unit cube, its footprint there, and the direction.
XS_HD inline void frame_point(const FusedFrameArgs& a, int64_t px, int64_t py, int32_t face,
                              float* position, float* footprint, float* direction) {
    const float pixel[2] = {static_cast<float>(a.left + px) + a.offset_x,
                            static_cast<float>(a.top + py) + a.offset_y};
    const int32_t camera = 0;
    float depth;
    const InterpolateArgs at{{a.vertices, a.faces, a.camera, &camera, pixel, &face},
                             nullptr,
                             1,
                             position,
                             nullptr,
                             direction,
                             footprint,
                             &depth};
    interpolate_one(at, 0);
    for (int axis = 0; axis < 3; ++axis) {
        position[axis] = (position[axis] - a.box[axis]) * a.box[3 + axis] + 0.5f;
    }
    *footprint *= a.footprint_unit;
}

// Its features into its row of `x`.
template <int F>
XS_HD inline void frame_features(const FusedFrameArgs& a, const EncodeArgs& points,
                                 const EncodeGrid& grid, const float* position, float footprint,
                                 Half* row) {
    for (int32_t l = 0; l < a.grid.levels; ++l) {
        const float fade = a.footprint_unit > 0.0f ? encode_fade(footprint * a.grid.footprint_scale,
                                                                 grid.level[l].scale)
                                                   : 1.0f;
        float sum[F];
        encode_features<F>(points, grid.level[l], position, fade, sum);
        frame_store<F>(row + l * F, sum);
    }
}

inline EncodeArgs frame_encode_args(const FusedFrameArgs& a) {
    EncodeArgs args{};
    args.grid = a.grid;
    return args;
}

inline int64_t frame_tiles(const FusedFrameArgs& a) {
    return (a.width + kFrameTileWidth - 1) / kFrameTileWidth *
           ((a.height + kFrameTileHeight - 1) / kFrameTileHeight);
}

// One tile of the picture.
template <int kShader, class Warp>
XS_HD inline void frame_tile(const Warp& warp, const FusedFrameArgs& a, const EncodeArgs& points,
                             const EncodeGrid& grid, const FrameNet& net,
                             const FrameWeights& packed, int64_t tile) {
    const int64_t columns = (a.width + kFrameTileWidth - 1) / kFrameTileWidth;
    const int64_t left = tile % columns * kFrameTileWidth;
    const int64_t top = tile / columns * kFrameTileHeight;
    const auto place = [&](int lane) -> int64_t {  // in the picture, -1: outside
        const int64_t px = left + lane % kFrameTileWidth;
        const int64_t py = top + lane / kFrameTileWidth;
        return px < a.width && py < a.height ? py * a.width + px : -1;
    };
    const auto face_of = [&](int lane) {
        const int64_t at = place(lane);
        return at < 0 ? -1 : a.face_id[at];
    };
    const FrameRows x{reinterpret_cast<Half*>(warp.memory), net.stride_x};
    const FrameRows y{x.row + kWarpLanes * net.stride_x, net.stride_y};
    float* direction = reinterpret_cast<float*>(y.row + kWarpLanes * net.stride_y);
    const bool covered = warp.any([&](int lane) { return face_of(lane) >= 0; });
    if (covered) {
        warp.each([&](int lane) {
            Half* row = x.row + lane * x.stride;
            float* d = direction + 3 * lane;
            const int32_t face = face_of(lane);
            if (face >= 0) {
                float position[3], footprint;
                frame_point(a, left + lane % kFrameTileWidth, top + lane / kFrameTileWidth, face,
                            position, &footprint, d);
                // The levels' width is looked at here: a kernel for each would take long to
                // compile.
                with_width(a.grid.width, [&](auto f) {
                    frame_features<f>(a, points, grid, position, footprint, row);
                });
            } else {
                d[0] = d[1] = d[2] = 0.0f;
            }
            for (int32_t i = face >= 0 ? net.width : 0; i < net.padded; ++i) {
                row[i].bits = 0;
            }
        });
        warp.sync();
    }
    const FrameRows last =
        covered ? frame_layers<kShader>(warp, a, net, packed, x, y, direction) : x;
    warp.each([&](int lane) {
        const int64_t at = place(lane);
        if (at < 0) {
            return;
        }
        uint8_t* rgb = a.rgb + 3 * at;
        if (a.face_id[at] < 0) {
            rgb[0] = rgb[1] = rgb[2] = 255;
            return;
        }
        const float* weights = a.shade.weights + net.colour;
        float raw[3];
        for (int c = 0; c < 3; ++c) {
            raw[c] = weights[3 * net.hidden + c];
        }
        for (int32_t k = 0; k < net.hidden; k += 8) {
            const HalfEight inputs = load_eight(last.row + lane * last.stride + k);
            for (int i = 0; i < 8; ++i) {
                const uint32_t bits = inputs.pair[i / 2] >> (16 * (i % 2));
                const float input = half_to_float({static_cast<uint16_t>(bits)});
                for (int c = 0; c < 3; ++c) {
                    raw[c] += weights[c * net.hidden + k + i] * input;
                }
            }
        }
        HeadColour colour;
        head_colour<kShader == kFrameFilm>(kShader == kFrameFilm ? nullptr : a.shade.exposure, raw,
                                           colour);
        for (int c = 0; c < 3; ++c) {
            rgb[c] = frame_byte(colour.rgb[c], a.range);
        }
    });
}

// Tiles for the warps of a block, which share the packed weights where their memory holds them.
template <int kShader>
struct FrameKernel {
    FusedFrameArgs args;
    EncodeArgs points;
    EncodeGrid grid;
    FrameNet net;

    // Copies a thread's share of the weights.
    XS_HD void prepare(char* common, int thread, int threads) const {
        const int64_t pieces = net.packed_bytes() / 16;
        for (int64_t i = thread; i < pieces; i += threads) {
            store_eight(reinterpret_cast<Half*>(common) + 8 * i, load_eight(net.weights + 8 * i));
        }
    }

    template <class Warp>
    XS_HD void operator()(const Warp& warp, int64_t tile, const char* common) const {
        frame_tile<kShader>(warp, args, points, grid, net, FrameWeights(net, common), tile);
    }

    template <class Warp>
    XS_HD void operator()(const Warp& warp, int64_t tile) const {
        frame_tile<kShader>(warp, args, points, grid, net, FrameWeights(net, net.weights), tile);
    }
};

// The passes in order: the weights are packed, then every tile is drawn.
template <class Launcher>
void frame_passes(const Launcher& launcher, const FusedFrameArgs& args) {
    const FusedFrameArgs a = args;
    const EncodeArgs points = frame_encode_args(a);
    const EncodeGrid grid = encode_grid(a.grid);
    FrameNet net = frame_net(a);
    frame_place(net, a.scratch);
    launcher.items("fused_frame (weights)", net.halves + net.floats,
                   [a, net] XS_HD(int64_t i) { frame_pack(a, net, i); });
    if (a.shader == kFrameRelu) {
        launcher.teams("fused_frame", frame_tiles(a), net.packed_bytes(), net.bytes(),
                       FrameKernel<kFrameRelu>{a, points, grid, net});
    } else {
        launcher.teams("fused_frame", frame_tiles(a), net.packed_bytes(), net.bytes(),
                       FrameKernel<kFrameFilm>{a, points, grid, net});
    }
}

}  // namespace xs
