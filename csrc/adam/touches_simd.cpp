// Adam for touched rows (adam/touches.h), compiled once for each instruction set.
#include "adam/row.h"
#include "adam/touches.h"
#include "encode/cells.h"
#include "width.h"

namespace xs {
namespace XS_ISA {

namespace {

// The touches of a level, bucket by bucket, in the order in which they are added.
class Buckets {
  public:
    Buckets(const TouchSpace& space, uint32_t buckets) : s_(space), buckets_(buckets) {
        for (uint32_t i = 0; i < buckets; ++i) {
            s_.first[i] = s_.last[i] = -1;
            s_.next[i] = s_.end[i] = nullptr;
        }
    }

    int64_t epoch() const { return epoch_; }

    // Keys of later touches count from `point`.
    void begin_epoch(int64_t point) {
        close();
        epoch_ = point;
        for (uint32_t i = 0; i < buckets_; ++i) {
            s_.next[i] = s_.end[i] = nullptr;
        }
    }

    // Rows count from the first of all buckets.
    void add(int64_t point, uint32_t row0, uint32_t row1, float weight0, float weight1) {
        const uint32_t bucket = row0 >> kBucketBits;
        if (s_.next[bucket] == s_.end[bucket]) {
            extend(bucket);
        }
        constexpr uint32_t kMask = kBucketRows - 1;
        const auto key = (row0 & kMask) << kPointBits | static_cast<uint32_t>(point - epoch_);
        *s_.next[bucket]++ = {key, row1 & kMask, {weight0, weight1}};
    }

    // Sets the counts of blocks that are not full.
    void close() {
        for (uint32_t i = 0; i < buckets_; ++i) {
            if (s_.next[i] != nullptr) {
                TouchBlock& block = s_.block[s_.last[i]];
                block.count = static_cast<int32_t>(s_.next[i] - block.touch);
            }
        }
    }

  private:
    void extend(uint32_t bucket) {
        TouchBlock& block = s_.block[used_];
        block.epoch = epoch_;
        block.next = -1;
        block.count = kBlockTouches;
        int32_t& before = s_.last[bucket] < 0 ? s_.first[bucket] : s_.block[s_.last[bucket]].next;
        before = used_;
        s_.last[bucket] = used_++;
        s_.next[bucket] = block.touch;
        s_.end[bucket] = block.touch + kBlockTouches;
    }

    const TouchSpace& s_;
    uint32_t buckets_;
    int32_t used_ = 0;
    int64_t epoch_ = 0;
};

// Gradient sums of one bucket's rows, which of them were touched, and their update.
template <int F>
class Sums {
  public:
    Sums(const TouchSpace& space, int which, const TableUpdate& update)
        : sum_(space.sum + which * int64_t{kBucketRows} * F),
          seen_(space.seen + which * int64_t{kBucketRows}),
          list_(space.list + which * int64_t{kBucketRows + 1}),
          adam_(*update.adam),
          corrections_(update.corrections) {}

    // The counts of steps lie close together and are fetched as a whole.
    void begin(int64_t first_row, uint32_t rows) {
        first_row_ = first_row;
        for (uint32_t row = 0; adam_.steps_stride == 1 && row < rows; row += 32) {
            __builtin_prefetch(adam_.steps + first_row + row, 1, 2);
        }
    }

    inline void add(uint32_t row, float weight, Vec<F> grad) {
        float* sum = sum_ + row * F;
        store<F>(sum, load<F>(sum) + weight * grad);
        list_[count_] = static_cast<uint16_t>(row);
        count_ += seen_[row] == 0;
        seen_[row] = 1;
    }

    // Fetches what Adam will need of the next touched row, if there is one.
    __attribute__((always_inline)) inline bool fetch() {
        if (fetched_ == count_) {
            return false;
        }
        const int64_t row = first_row_ + list_[fetched_++];
        __builtin_prefetch(adam_.first + row * adam_.first_stride, 1, 2);
        __builtin_prefetch(adam_.param + row * F, 1, 2);
        return true;
    }

    void update() {
        while (fetch()) {
        }
        const AdamArgs adam = adam_;
        for (int32_t i = 0; i < count_; ++i) {
            const uint32_t row = list_[i];
            float* sum = sum_ + row * F;
            adam_update_row<F>(adam, first_row_ + row, sum, corrections_, 1.0f, 1.0f);
            store<F>(sum, Vec<F>{});
            seen_[row] = 0;
        }
        count_ = fetched_ = 0;
    }

  private:
    float* sum_;
    uint8_t* seen_;
    uint16_t* list_;
    const AdamArgs& adam_;
    const AdamCorrections corrections_;
    int64_t first_row_ = 0;
    int32_t count_ = 0;
    int32_t fetched_ = 0;
};

// Calls start(point) before every tile and body(point, corners, i) for every point that sees the
// level, in the order of encode_backward; the corners are those of place i.
template <class Start, class Body>
void visit(const TableUpdate& u, const EncodeLevel& level, const Start& start, const Body& body) {
    const EncodeArgs& a = *u.points;
    const FindCorners find = corners_finder(level, a.grid.smoothstep);
    const bool fading = a.footprint != nullptr;
    Tile tile;
    Tile seen;
    Corners corners;
    int32_t place[kTile];
    alignas(64) float fade[kTile];
    for (int64_t first = 0; first < a.points; first += kTile) {
        int n = static_cast<int>(a.points - first < kTile ? a.points - first : kTile);
        load_tile(a.position + 3 * first, n, tile);
        if (fading) {
            n = select_visible(a, level, a.footprint + first, n, tile, seen, place, fade);
        }
        start(first);
        for (int begin = 0; begin < n; begin += kBlock) {
            find(level, fading ? seen : tile, fading ? fade : nullptr, begin, corners);
            const int count = n - begin < kBlock ? n - begin : kBlock;
            for (int i = 0; i < count; ++i) {
                const int64_t point = first + (fading ? place[begin + i] : begin + i);
                body(point, corners, i);
            }
        }
    }
}

template <int F>
void rows_of(const TableUpdate& u, const EncodeLevel& level, uint32_t row_begin, uint32_t row_end,
             const TouchSpace& space) {
    const uint32_t rows = row_end - row_begin;
    const int64_t first_row = level.offset + row_begin;
    Sums<F> even(space, 0, u);
    Sums<F> odd(space, 1, u);
    if (rows <= kBucketRows) {
        even.begin(first_row, rows);
        visit(
            u, level, [](int64_t) {},
            [&](int64_t point, const Corners& corners, int i) {
                const Vec<F> grad = load<F>(u.grad + point * F);
                for (int c = 0; c < 8; ++c) {
                    const uint32_t row = corners.row[c][i] - row_begin;
                    if (row < rows) {
                        even.add(row, corners.weight[c][i], grad);
                    }
                }
            });
        even.update();
        return;
    }
    const uint32_t count = (rows + kBucketRows - 1) >> kBucketBits;
    Buckets buckets(space, count);
    visit(
        u, level,
        [&](int64_t first) {
            if (first - buckets.epoch() > kEpochPoints - kTile) {
                buckets.begin_epoch(first);
            }
        },
        [&](int64_t point, const Corners& corners, int i) {
            for (int c = 0; c < 8; c += 2) {
                const uint32_t row0 = corners.row[c][i] - row_begin;
                const uint32_t row1 = corners.row[c + 1][i] - row_begin;
                const float weight0 = corners.weight[c][i];
                const float weight1 = corners.weight[c + 1][i];
                if (row0 < rows && row1 < rows && (row0 ^ row1) < kBucketRows) {
                    buckets.add(point, row0, row1, weight0, weight1);
                    continue;
                }
                if (row0 < rows) {
                    buckets.add(point, row0, row0, weight0, 0.0f);
                }
                if (row1 < rows) {
                    buckets.add(point, row1, row1, weight1, 0.0f);
                }
            }
        });
    buckets.close();
    // While one bucket is summed, the rows of the one before are on their way.
    for (uint32_t bucket = 0; bucket < count; ++bucket) {
        Sums<F>& sums = bucket % 2 == 0 ? even : odd;
        Sums<F>& before = bucket % 2 == 0 ? odd : even;
        const uint32_t begin = bucket << kBucketBits;
        sums.begin(first_row + begin, rows - begin < kBucketRows ? rows - begin : kBucketRows);
        for (int32_t index = space.first[bucket]; index >= 0; index = space.block[index].next) {
            const TouchBlock& block = space.block[index];
            const float* grad = u.grad + block.epoch * F;
            for (int32_t i = 0; i < block.count; ++i) {
                const Touch& touch = block.touch[i];
                const int64_t point = touch.key & (kEpochPoints - 1);
                const Vec<F> g = load<F>(grad + point * F);
                sums.add(touch.key >> kPointBits, touch.weight[0], g);
                sums.add(touch.pair, touch.weight[1], g);
                before.fetch();
                before.fetch();
            }
        }
        before.update();
    }
    even.update();
    odd.update();
}

}  // namespace

void adam_touched_rows(const TableUpdate& update, const EncodeLevel& level, uint32_t row_begin,
                       uint32_t row_end, const TouchSpace& space) {
    with_width(update.points->grid.width,
               [&](auto f) { rows_of<f>(update, level, row_begin, row_end, space); });
}

}  // namespace XS_ISA
}  // namespace xs
