// How the shaders' launchers cut a batch: pieces of fixed size, each with its own gradient sums,
// added up in order afterwards. Pieces depend on the number of rays only, so no result depends on
// the number of threads.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "check.h"
#include "parallel_cpu.h"
#include "shade/args.h"
#include "shade/chunk.h"

namespace xs {

// Memory that a thread keeps between calls; 64-byte aligned, contents undefined. Large ones lie in
// huge pages where the system has them on offer.
class ShadeBuffer {
  public:
    ShadeBuffer() = default;
    ShadeBuffer(const ShadeBuffer&) = delete;
    ShadeBuffer& operator=(const ShadeBuffer&) = delete;
    ~ShadeBuffer() { std::free(data_); }

    float* get(int64_t floats) {
        if (floats > size_) {
            std::free(data_);
            size_ = 0;
            constexpr size_t kHugePage = 2 << 20;
            size_t bytes = static_cast<size_t>((floats + 15) / 16 * 64);
            const size_t page = bytes >= kHugePage ? kHugePage : 64;
            bytes = (bytes + page - 1) / page * page;
            data_ = static_cast<float*>(std::aligned_alloc(page, bytes));
            XS_CHECK(data_ != nullptr, "out of memory for working buffers");
#if defined(__linux__)
            if (page == kHugePage) {
                madvise(data_, bytes, MADV_HUGEPAGE);
            }
#endif
            size_ = floats;
        }
        return data_;
    }

  private:
    float* data_ = nullptr;
    int64_t size_ = 0;
};

// Rays a piece: ten chunks, more only when that would make over 256 pieces.
inline int64_t shade_piece_rays(int64_t rays) {
    const int64_t least = (rays + 255) / 256;
    return std::max<int64_t>(10 * kShadeRays, (least + kShadeRays - 1) / kShadeRays * kShadeRays);
}

// Per-photo gradient sums of every piece. A piece sees few of the photos, so it keeps rows (slots)
// only for those; memory is bounded by the smaller of photos x pieces and rays.
class ShadeSlots {
  public:
    ShadeSlots(int64_t rays, int64_t photos, int64_t width, bool wanted)
        : width_(width), photos_(photos), piece_rays_(shade_piece_rays(rays)), wanted_(wanted) {
        if (wanted_) {
            pieces_ = (rays + piece_rays_ - 1) / piece_rays_;
            capacity_ = std::min(photos, piece_rays_);
            slot_.resize(rays);
            photo_of_slot_.resize(pieces_);
            sums_ = buffer().get(pieces_ * capacity_ * width_);
        }
    }

    // Gives each ray of a piece its slot and clears the piece's sums.
    void prepare(int64_t piece, const int32_t* photo, int64_t begin, int64_t end) {
        if (!wanted_) {
            return;
        }
        static thread_local std::vector<int32_t> slot_of_photo;
        slot_of_photo.resize(std::max<size_t>(slot_of_photo.size(), photos_), -1);
        std::vector<int32_t>& used = photo_of_slot_[piece];
        for (int64_t r = begin; r < end; ++r) {
            if (photo[r] < 0) {
                slot_[r] = -1;
                continue;
            }
            int32_t& slot = slot_of_photo[photo[r]];
            if (slot < 0) {
                slot = static_cast<int32_t>(used.size());
                used.push_back(photo[r]);
            }
            slot_[r] = slot;
        }
        for (int32_t p : used) {
            slot_of_photo[p] = -1;
        }
        std::fill_n(sums(piece), static_cast<int64_t>(used.size()) * width_, 0.0f);
    }

    const int32_t* slot(int64_t ray) const { return wanted_ ? slot_.data() + ray : nullptr; }
    float* sums(int64_t piece) const {
        return wanted_ ? sums_ + piece * capacity_ * width_ : nullptr;
    }

    // Adds all pieces' sums to grad [photos, width], in the order of pieces. Tasks own photos.
    void reduce(float* grad) const {
        constexpr int64_t kTasks = 16;
        parallel_for(wanted_ ? kTasks : 0, [&](int64_t task) {
            for (int64_t piece = 0; piece < pieces_; ++piece) {
                const std::vector<int32_t>& used = photo_of_slot_[piece];
                for (size_t slot = 0; slot < used.size(); ++slot) {
                    if (used[slot] % kTasks != task) {
                        continue;
                    }
                    const float* from = sums(piece) + static_cast<int64_t>(slot) * width_;
                    float* to = grad + used[slot] * width_;
                    for (int64_t i = 0; i < width_; ++i) {
                        to[i] += from[i];
                    }
                }
            }
        });
    }

  private:
    static ShadeBuffer& buffer() {
        static thread_local ShadeBuffer kept;
        return kept;
    }

    int64_t width_, photos_, piece_rays_;
    bool wanted_;
    int64_t pieces_ = 0, capacity_ = 0;
    std::vector<int32_t> slot_;
    std::vector<std::vector<int32_t>> photo_of_slot_;
    float* sums_ = nullptr;
};

// Adds up `pieces` gradients of `size` floats into the first, in order.
inline void shade_reduce(float* gradients, int64_t pieces, int64_t size) {
    parallel_ranges(size, 2048, [&](int64_t begin, int64_t end) {
        for (int64_t piece = 1; piece < pieces; ++piece) {
            const float* from = gradients + piece * size;
            for (int64_t i = begin; i < end; ++i) {
                gradients[i] += from[i];
            }
        }
    });
}

// The chunk of `args` that begins at ray `begin`.
inline ShadeChunk shade_chunk_of(const ShadeArgs& a, int64_t begin, int64_t end, int64_t width) {
    const auto at = [begin](auto* pointer, int64_t stride) {
        return pointer == nullptr ? nullptr : pointer + begin * stride;
    };
    ShadeChunk chunk{};
    chunk.rays = static_cast<int32_t>(std::min<int64_t>(end - begin, kShadeRays));
    chunk.features = at(a.features, width);
    chunk.direction = at(a.direction, 3);
    chunk.exposure = a.exposure;
    chunk.photo = at(a.photo, 1);
    chunk.rgb = at(a.rgb, 3);
    chunk.loss = a.loss;
    chunk.grad_rgb = at(a.grad_rgb, 3);
    chunk.target = at(a.target, 3);
    chunk.target_bytes = at(a.target_bytes, 3);
    chunk.ray_weight = at(a.ray_weight, 1);
    chunk.scale = a.scale;
    chunk.ray_loss = at(a.ray_loss, 1);
    chunk.grad_features = at(a.grad_features, width);
    return chunk;
}

// Runs chunk(ShadeChunk, scratch) over all rays.
template <class Body>
void shade_forward(const ShadeArgs& a, int64_t width, int64_t scratch_size, const Body& body) {
    parallel_ranges(a.rays, 4 * kShadeRays, [&](int64_t begin, int64_t end) {
        static thread_local ShadeBuffer scratch;
        for (int64_t r = begin; r < end; r += kShadeRays) {
            body(shade_chunk_of(a, r, end, width), scratch.get(scratch_size));
        }
    });
}

// Rays that one thread treats, and where their gradients are summed.
struct ShadePiece {
    int64_t begin, end;
    float* gradient;       // of the weights, zero at first
    const int32_t* slot;   // [end - begin], as in ShadeChunk
    float* grad_exposure;  // [slots, width]
};

// Runs piece(ShadePiece) over all rays, then finish(sum of their gradients).
template <class Piece, class Finish>
void shade_pieces(int64_t rays, int64_t photos, const int32_t* photo, int64_t exposure_width,
                  float* grad_exposure, int64_t gradient_size, const Piece& piece,
                  const Finish& finish) {
    if (rays == 0) {
        return;
    }
    static thread_local ShadeBuffer gradient_buffer;
    const int64_t piece_rays = shade_piece_rays(rays);
    const int64_t pieces = (rays + piece_rays - 1) / piece_rays;
    float* gradients = gradient_buffer.get(pieces * gradient_size);
    ShadeSlots slots(rays, photos, exposure_width, grad_exposure != nullptr);
    parallel_ranges(rays, piece_rays, [&](int64_t begin, int64_t end) {
        const int64_t index = begin / piece_rays;
        float* gradient = gradients + index * gradient_size;
        std::fill_n(gradient, gradient_size, 0.0f);
        slots.prepare(index, photo, begin, end);
        piece(ShadePiece{begin, end, gradient, slots.slot(begin), slots.sums(index)});
    });
    shade_reduce(gradients, pieces, gradient_size);
    finish(gradients);
    if (grad_exposure != nullptr) {
        slots.reduce(grad_exposure);
    }
}

// Runs body(ShadeChunk, scratch, gradient) over all rays, then finish(summed gradient).
template <class Body, class Finish>
void shade_gradient(const ShadeArgs& a, int64_t width, int64_t exposure_width, int64_t scratch_size,
                    int64_t gradient_size, const Body& body, const Finish& finish) {
    shade_pieces(
        a.rays, a.photos, a.photo, exposure_width, a.grad_exposure, gradient_size,
        [&](const ShadePiece& piece) {
            static thread_local ShadeBuffer scratch;
            for (int64_t r = piece.begin; r < piece.end; r += kShadeRays) {
                ShadeChunk chunk = shade_chunk_of(a, r, piece.end, width);
                chunk.slot = piece.slot == nullptr ? nullptr : piece.slot + (r - piece.begin);
                chunk.grad_exposure = piece.grad_exposure;
                body(chunk, scratch.get(scratch_size), piece.gradient);
            }
        },
        finish);
}

}  // namespace xs
