// Bits: logic, shifts, fields, counts.
#include <algorithm>

#include "lanes.h"

namespace device {

namespace {

struct And {
    uint64_t operator()(uint64_t a, uint64_t b) const { return a & b; }
};
struct Or {
    uint64_t operator()(uint64_t a, uint64_t b) const { return a | b; }
};
struct Xor {
    uint64_t operator()(uint64_t a, uint64_t b) const { return a ^ b; }
};

template <class F>
void bits(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2);
    uint64_t* to = s.target(0);
    const int size = 8 * size_of(s.in.type);
    each_lane(s.run,
              [&](int lane) { to[lane] = F()(a[lane], b[lane]) << (64 - size) >> (64 - size); });
}

void invert(Step& s) {
    const uint64_t* a = s.source(1);
    uint64_t* to = s.target(0);
    const int size = 8 * size_of(s.in.type);
    const bool one = s.in.type == Type::pred;
    each_lane(s.run, [&](int lane) {
        to[lane] = one ? !(a[lane] & 1) : ~a[lane] << (64 - size) >> (64 - size);
    });
}

void shift(Step& s) {
    const uint64_t *a = s.source(1), *by = s.source(2);
    uint64_t* to = s.target(0);
    const uint64_t size = 8 * size_of(s.in.type);
    const bool left = s.in.name == "shl";
    each_lane(s.run, [&](int lane) {
        const uint64_t n = static_cast<uint32_t>(by[lane]);
        const uint64_t top = a[lane] << (64 - size);
        if (left) {
            to[lane] = n >= size ? 0 : top << n >> (64 - size);
        } else if (is_signed(s.in.type)) {
            const auto number = static_cast<int64_t>(top) >> (64 - size);
            to[lane] = static_cast<uint64_t>(number >> std::min(n, size - 1)) << (64 - size) >>
                       (64 - size);
        } else {
            to[lane] = n >= size ? 0 : top >> (64 - size) >> n;
        }
    });
}

// shf: two words after each other, shifted.
void funnel(Step& s) {
    const uint64_t *low = s.source(1), *high = s.source(2), *by = s.source(3);
    uint64_t* to = s.target(0);
    const bool wrap = s.in.text.find(".wrap") != std::string::npos;
    each_lane(s.run, [&](int lane) {
        const uint64_t both = high[lane] << 32 | (low[lane] & 0xffffffffu);
        const auto given = static_cast<uint32_t>(by[lane]);
        const uint32_t n = wrap ? given & 31 : std::min(given, 32u);
        to[lane] = (s.in.mode == "l" ? both << n >> 32 : both >> n) & 0xffffffffu;
    });
}

void insert_bits(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2), *at = s.source(3), *count = s.source(4);
    uint64_t* to = s.target(0);
    const uint32_t size = 8 * size_of(s.in.type);
    each_lane(s.run, [&](int lane) {
        const uint32_t begin = at[lane] & 0xff, bits = count[lane] & 0xff;
        uint64_t mask = 0;
        for (uint32_t i = begin; i < begin + bits && i < size; ++i) {
            mask |= 1ull << i;
        }
        const uint64_t moved = begin < 64 ? a[lane] << begin : 0;
        to[lane] = ((b[lane] & ~mask) | (moved & mask)) << (64 - size) >> (64 - size);
    });
}

void extract_bits(Step& s) {
    const uint64_t *a = s.source(1), *at = s.source(2), *count = s.source(3);
    uint64_t* to = s.target(0);
    const uint32_t size = 8 * size_of(s.in.type);
    each_lane(s.run, [&](int lane) {
        const uint32_t begin = at[lane] & 0xff, bits = count[lane] & 0xff;
        const uint32_t sign = std::min(begin + bits - 1, size - 1);
        const uint64_t fill = is_signed(s.in.type) && bits > 0 ? a[lane] >> sign & 1 : 0;
        uint64_t found = 0;
        for (uint32_t i = 0; i < size; ++i) {
            const bool inside = i < bits && begin + i < size;
            found |= (inside ? a[lane] >> (begin + i) & 1 : fill) << i;
        }
        to[lane] = found;
    });
}

void permute(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2), *how = s.source(3);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) {
        const uint64_t both = (a[lane] & 0xffffffffu) | b[lane] << 32;
        uint64_t made = 0;
        for (int i = 0; i < 4; ++i) {
            const auto pick = static_cast<uint32_t>(how[lane] >> 4 * i & 0xf);
            uint64_t byte = both >> 8 * (pick & 7) & 0xff;
            byte = (pick & 8) != 0 ? (byte >> 7) * 0xff : byte;
            made |= byte << 8 * i;
        }
        to[lane] = made;
    });
}

void logic(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2), *c = s.source(3), *table = s.source(4);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) {
        uint64_t made = 0;
        for (int i = 0; i < 32; ++i) {
            const uint64_t at =
                (a[lane] >> i & 1) << 2 | (b[lane] >> i & 1) << 1 | (c[lane] >> i & 1);
            made |= (table[lane] >> at & 1) << i;
        }
        to[lane] = made;
    });
}

void count_bits(Step& s) {
    const uint64_t* a = s.source(1);
    uint64_t* to = s.target(0);
    const int size = 8 * size_of(s.in.type);
    each_lane(s.run, [&](int lane) {
        const uint64_t top = a[lane] << (64 - size);
        if (s.in.name == "popc") {
            to[lane] = __builtin_popcountll(top);
        } else if (s.in.name == "clz") {
            to[lane] = top == 0 ? size : __builtin_clzll(top);
        } else {  // brev
            to[lane] = 0;
            for (int i = 0; i < size; ++i) {
                to[lane] |= (a[lane] >> i & 1) << (size - 1 - i);
            }
        }
    });
}

}  // namespace

Executor bits_executor(const Instruction& in) {
    static const std::map<std::string, Executor> known = {
        {"and", bits<And>},    {"or", bits<Or>},     {"xor", bits<Xor>}, {"not", invert},
        {"shl", shift},        {"shr", shift},       {"shf", funnel},    {"bfi", insert_bits},
        {"bfe", extract_bits}, {"prmt", permute},    {"lop3", logic},    {"clz", count_bits},
        {"popc", count_bits},  {"brev", count_bits},
    };
    const auto found = known.find(in.name);
    return found == known.end() ? nullptr : found->second;
}

}  // namespace device
