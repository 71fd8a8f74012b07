// Moves and conversions of registers.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>

#include "lanes.h"

namespace device {

namespace {

double whole(double x, Round round) {
    switch (round) {
        case Round::near_whole:
            return std::nearbyint(x);
        case Round::zero_whole:
            return std::trunc(x);
        case Round::down_whole:
            return std::floor(x);
        case Round::up_whole:
            return std::ceil(x);
        default:
            return x;
    }
}

float to_float(double x, Round round) {
    if (round == Round::zero) {
        std::fesetround(FE_TOWARDZERO);
    }
    const volatile double exact = x;
    const volatile float result = static_cast<float>(exact);
    std::fesetround(FE_TONEAREST);
    return result;
}

uint64_t half_bits(float x, bool finite) {
    constexpr float kLargest = 65504.0f;
    if (finite) {
        x = x > kLargest ? kLargest : x < -kLargest ? -kLargest : x;
    }
    const auto half = static_cast<_Float16>(x);
    uint16_t bits;
    std::memcpy(&bits, &half, sizeof bits);
    return bits;
}

double half_value(uint64_t bits) {
    const auto low = static_cast<uint16_t>(bits);
    _Float16 half;
    std::memcpy(&half, &low, sizeof half);
    return half;
}

// The number that the bits of a type stand for; of integers see below.
double real(Type type, const uint64_t* from, int lane) {
    switch (type) {
        case Type::f16:
            return half_value(from[lane]);
        case Type::f32:
            return get<float>(from, lane);
        default:
            return get<double>(from, lane);
    }
}

uint64_t from_real(const Instruction& in, double x) {
    if (in.saturate) {
        x = x > 0.0 ? std::min(x, 1.0) : 0.0;  // NaN becomes 0
    }
    uint64_t made = 0;
    if (in.type == Type::f16) {
        return half_bits(static_cast<float>(x), in.finite);
    }
    if (in.type == Type::f32) {
        put(&made, 0, to_float(x, in.from == Type::f64 ? in.round : Round::near));
    } else {
        put(&made, 0, x);
    }
    return made;
}

// A real number to the nearest that an integer type holds; NaN becomes 0 (64 bits: the least).
template <class T>
T to_integer(double x) {
    if (std::isnan(x)) {
        return sizeof(T) == 8 ? static_cast<T>(0x8000000000000000ull) : T{0};
    }
    if (x >= std::ldexp(1.0, std::numeric_limits<T>::digits)) {
        return std::numeric_limits<T>::max();
    }
    return x <= static_cast<double>(std::numeric_limits<T>::min()) ? std::numeric_limits<T>::min()
                                                                   : static_cast<T>(x);
}

void convert_real(Step& s) {
    const uint64_t* from = s.source(1);
    uint64_t* to = s.target(0);
    const Instruction& in = s.in;
    each_lane(s.run, [&](int lane) {
        const double x = whole(real(in.from, from, lane), in.round);
        if (is_float(in.type)) {
            to[lane] = from_real(in, x);
        } else {
            with_type(in.type, [&](auto kind) {
                using T = decltype(kind);
                if constexpr (std::is_integral_v<T>) {
                    put(to, lane, to_integer<T>(x));
                }
            });
        }
    });
}

void convert_integer(Step& s) {
    const uint64_t* from = s.source(1);
    uint64_t* to = s.target(0);
    with_type(s.in.from, [&](auto kind) {
        using T = decltype(kind);
        each_lane(s.run, [&](int lane) {
            const T x = get<T>(from, lane);
            if (s.in.type == Type::f32) {
                put(to, lane, static_cast<float>(x));
            } else if (s.in.type == Type::f64) {
                put(to, lane, static_cast<double>(x));
            } else {
                to[lane] = cut_to(s.in.type, static_cast<uint64_t>(static_cast<int64_t>(x)));
            }
        });
    });
}

// cvt.rn.f16x2.f32 d, a, b: a into the upper half.
void convert_pair(Step& s) {
    const uint64_t *high = s.source(1), *low = s.source(2);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) {
        to[lane] = half_bits(get<float>(high, lane), s.in.finite) << 16 |
                   half_bits(get<float>(low, lane), s.in.finite);
    });
}

// Moves, also of parts into a vector of registers and back.
void move(Step& s) {
    const Operand &to = s.in.operands[0], &from = s.in.operands[1];
    const int bits = 8 * size_of(s.in.type);
    if (to.kind == Operand::Kind::vector) {
        const uint64_t* x = s.source(1);
        const int part = bits / static_cast<int>(to.parts.size());
        for (size_t k = 0; k < to.parts.size(); ++k) {
            if (to.parts[k].kind == Operand::Kind::reg) {
                uint64_t* y = s.frame.registers[to.parts[k].reg].data();
                each_lane(s.run, [&](int lane) {
                    y[lane] = x[lane] >> k * part << (64 - part) >> (64 - part);
                });
            }
        }
    } else if (from.kind == Operand::Kind::vector) {
        uint64_t* y = s.target(0);
        const int part = bits / static_cast<int>(from.parts.size());
        Lanes made{};
        for (size_t k = 0; k < from.parts.size(); ++k) {
            const uint64_t* x = s.lanes_of(from.parts[k]);
            each_lane(s.run, [&](int lane) {
                made[lane] |= x[lane] << (64 - part) >> (64 - part) << k * part;
            });
        }
        each_lane(s.run, [&](int lane) { y[lane] = made[lane]; });
    } else {
        const uint64_t* x = s.source(1);
        uint64_t* y = s.target(0);
        each_lane(s.run, [&](int lane) { y[lane] = x[lane] << (64 - bits) >> (64 - bits); });
    }
}

// Addresses of a space to general ones and back (high: "to").
void convert_address(Step& s) {
    const uint64_t* from = s.source(1);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) {
        uint64_t base = 0;
        if (s.in.space == Space::shared) {
            base = reinterpret_cast<uint64_t>(s.warp.block->shared.bytes.data());
        } else if (s.in.space == Space::local) {
            base = reinterpret_cast<uint64_t>(s.frame.local.data()) +
                   static_cast<uint64_t>(lane) * s.frame.function->local;
        } else if (s.in.space == Space::param) {
            base = reinterpret_cast<uint64_t>(s.warp.block->params);
        }
        to[lane] = s.in.high ? from[lane] - base : from[lane] + base;
    });
}

}  // namespace

Executor convert_executor(const Instruction& in) {
    if (in.name == "mov") {
        return move;
    }
    if (in.name == "cvta") {
        return convert_address;
    }
    if (in.name == "cvt") {
        return in.type == Type::f16x2 ? convert_pair
               : is_float(in.from)    ? convert_real
                                      : convert_integer;
    }
    return nullptr;
}

}  // namespace device
