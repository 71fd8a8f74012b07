// Arithmetic and comparisons.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "lanes.h"

namespace device {

namespace {

template <class T>
using Unsigned = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>,
                                             std::enable_if<true, T>>::type;

// Arithmetic that wraps around instead of overflowing.
struct Add {
    template <class T>
    T operator()(T a, T b) const {
        return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
    }
};
struct Subtract {
    template <class T>
    T operator()(T a, T b) const {
        return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
    }
};
struct Multiply {
    template <class T>
    T operator()(T a, T b) const {
        if constexpr (std::is_floating_point_v<T>) {
            return a * b;
        } else {
            return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
        }
    }
};
struct Least {
    template <class T>
    T operator()(T a, T b) const {
        if constexpr (std::is_floating_point_v<T>) {
            return std::fmin(a, b);
        }
        return b < a ? b : a;
    }
};
struct Most {
    template <class T>
    T operator()(T a, T b) const {
        if constexpr (std::is_floating_point_v<T>) {
            return std::fmax(a, b);
        }
        return b > a ? b : a;
    }
};

// Division as a device has it: by zero it gives all bits.
struct Divide {
    template <class T>
    T operator()(T a, T b) const {
        if constexpr (std::is_floating_point_v<T>) {
            return a / b;
        } else {
            if (b == 0) {
                return static_cast<T>(~Unsigned<T>{0});
            }
            if (std::is_signed_v<T> && b == static_cast<T>(-1)) {
                return Subtract()(T{0}, a);
            }
            return static_cast<T>(a / b);
        }
    }
};
struct Remainder {
    template <class T>
    T operator()(T a, T b) const {
        if constexpr (std::is_floating_point_v<T>) {
            return std::fmod(a, b);
        } else {
            if (b == 0) {
                return a;
            }
            return std::is_signed_v<T> && b == static_cast<T>(-1) ? T{0} : static_cast<T>(a % b);
        }
    }
};

template <class T>
T saturated(const Instruction& in, T value) {
    if constexpr (std::is_floating_point_v<T>) {
        if (in.saturate) {
            return value > 0 ? std::min(value, T{1}) : T{0};  // NaN becomes 0
        }
    }
    return value;
}

template <class F>
void binary(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2);
    uint64_t* to = s.target(0);
    with_type(s.in.type, [&](auto kind) {
        using T = decltype(kind);
        each_lane(s.run, [&](int lane) {
            put<T>(to, lane, saturated(s.in, F()(get<T>(a, lane), get<T>(b, lane))));
        });
    });
}

void divide(Step& s) {
    if (!is_float(s.in.type)) {
        const uint64_t* by = s.source(2);
        each_lane(s.run, [&](int lane) {
            const int bits = 8 * size_of(s.in.type);
            if (by[lane] << (64 - bits) == 0) {
                report("integer division by zero", s.in);
            }
        });
    }
    s.in.name == "rem" ? binary<Remainder>(s) : binary<Divide>(s);
}

// Sums of 32 and 64 bits with a carry that goes in, comes out, or both.
void carried(Step& s) {
    const bool down = s.in.name == "sub" || s.in.name == "subc";
    const bool in_too = s.in.name == "addc" || s.in.name == "subc";
    const int bits = 8 * size_of(s.in.type);
    const uint64_t mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
    const uint64_t *a = s.source(1), *b = s.source(2);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) {
        const unsigned __int128 x = a[lane] & mask, y = b[lane] & mask;
        const unsigned carry = in_too ? s.frame.carry[lane] : 0;
        const unsigned __int128 sum = down ? x - y - carry : x + y + carry;
        to[lane] = static_cast<uint64_t>(sum) & mask;
        if (s.in.carry) {
            s.frame.carry[lane] = static_cast<uint8_t>(sum >> bits & 1);
        }
    });
}

void add(Step& s) {
    s.in.carry ? carried(s) : binary<Add>(s);
}
void subtract(Step& s) {
    s.in.carry ? carried(s) : binary<Subtract>(s);
}

// The bits of a product that an instruction wants: all, the high or the low half.
uint64_t product(const Instruction& in, uint64_t a, uint64_t b) {
    const int bits = 8 * size_of(in.type);
    unsigned __int128 whole;
    if (is_signed(in.type)) {
        const auto x = static_cast<int64_t>(a << (64 - bits)) >> (64 - bits);
        const auto y = static_cast<int64_t>(b << (64 - bits)) >> (64 - bits);
        whole = static_cast<unsigned __int128>(static_cast<__int128>(x) * y);
    } else {
        whole = static_cast<unsigned __int128>(a << (64 - bits) >> (64 - bits)) *
                (b << (64 - bits) >> (64 - bits));
    }
    if (in.wide) {
        return static_cast<uint64_t>(whole) << (64 - std::min(64, 2 * bits)) >>
               (64 - std::min(64, 2 * bits));
    }
    return static_cast<uint64_t>(in.high ? whole >> bits : whole) << (64 - bits) >> (64 - bits);
}

void multiply(Step& s) {
    if (is_float(s.in.type) || (!s.in.high && !s.in.wide)) {
        return binary<Multiply>(s);
    }
    const uint64_t *a = s.source(1), *b = s.source(2);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) { to[lane] = product(s.in, a[lane], b[lane]); });
}

void multiply_add(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2), *c = s.source(3);
    uint64_t* to = s.target(0);
    const int bits = 8 * size_of(s.in.type) * (s.in.wide ? 2 : 1);
    const uint64_t mask = bits >= 64 ? ~0ull : (1ull << bits) - 1;
    each_lane(s.run, [&](int lane) {
        const unsigned __int128 sum =
            static_cast<unsigned __int128>(product(s.in, a[lane], b[lane]) & mask) +
            (c[lane] & mask) + (s.in.name == "madc" ? s.frame.carry[lane] : 0);
        to[lane] = static_cast<uint64_t>(sum) & mask;
        if (s.in.carry) {
            s.frame.carry[lane] = static_cast<uint8_t>(sum >> bits & 1);
        }
    });
}

void fused(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2), *c = s.source(3);
    uint64_t* to = s.target(0);
    static const std::array<int, 5> modes = {FE_TONEAREST, FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD,
                                             FE_UPWARD};
    const int mode = modes[static_cast<int>(s.in.round)];
    if (mode != FE_TONEAREST) {
        std::fesetround(mode);
    }
    if (s.in.type == Type::f32) {
        each_lane(s.run, [&](int lane) {
            const volatile float x = get<float>(a, lane);
            put(to, lane,
                saturated(s.in, std::fma(float{x}, get<float>(b, lane), get<float>(c, lane))));
        });
    } else {
        each_lane(s.run, [&](int lane) {
            const volatile double x = get<double>(a, lane);
            put(to, lane, std::fma(double{x}, get<double>(b, lane), get<double>(c, lane)));
        });
    }
    if (mode != FE_TONEAREST) {
        std::fesetround(FE_TONEAREST);
    }
}

// Functions of one number. Approximate ones are exact here.
template <class F>
void unary(Step& s) {
    const uint64_t* a = s.source(1);
    uint64_t* to = s.target(0);
    with_type(s.in.type, [&](auto kind) {
        using T = decltype(kind);
        each_lane(s.run, [&](int lane) { put<T>(to, lane, F()(get<T>(a, lane))); });
    });
}

struct Negate {
    template <class T>
    T operator()(T a) const {
        if constexpr (std::is_floating_point_v<T>) {
            return -a;
        } else {
            return Subtract()(T{0}, a);
        }
    }
};
struct Magnitude {
    template <class T>
    T operator()(T a) const {
        if constexpr (std::is_floating_point_v<T>) {
            return std::fabs(a);
        } else {
            return a < T{0} ? Negate()(a) : a;
        }
    }
};
template <double (*F)(double)>
struct Real {
    template <class T>
    T operator()(T a) const {
        return static_cast<T>(F(static_cast<double>(a)));
    }
};

double reciprocal(double x) {
    return 1.0 / x;
}
double reciprocal_root(double x) {
    return 1.0 / std::sqrt(x);
}

// rcp.approx.ftz.f64 gives the upper half of the result's bits.
void rcp(Step& s) {
    unary<Real<reciprocal>>(s);
    if (s.in.type == Type::f64 && s.in.approximate) {
        uint64_t* to = s.target(0);
        each_lane(s.run, [&](int lane) { to[lane] &= 0xffffffff00000000ull; });
    }
}

template <class T>
bool holds(Compare compare, T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
        const bool undefined = std::isnan(a) || std::isnan(b);
        if (compare == Compare::num || compare == Compare::nan) {
            return undefined == (compare == Compare::nan);
        }
        if (undefined) {
            return compare >= Compare::equ || compare == Compare::nan;
        }
    }
    switch (compare) {
        case Compare::eq:
        case Compare::equ:
            return a == b;
        case Compare::ne:
        case Compare::neu:
            return a != b;
        case Compare::lt:
        case Compare::ltu:
            return a < b;
        case Compare::le:
        case Compare::leu:
            return a <= b;
        case Compare::gt:
        case Compare::gtu:
            return a > b;
        default:
            return a >= b;
    }
}

void compare(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2);
    uint64_t* to = s.target(0);
    with_type(s.in.type, [&](auto kind) {
        using T = decltype(kind);
        each_lane(s.run, [&](int lane) {
            to[lane] = holds(s.in.compare, get<T>(a, lane), get<T>(b, lane)) ? 1 : 0;
        });
    });
}

void select(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2), *which = s.source(3);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) { to[lane] = (which[lane] & 1) != 0 ? a[lane] : b[lane]; });
}

// copysign.f32 d, a, b: the sign of a on b.
void copy_sign(Step& s) {
    const uint64_t *a = s.source(1), *b = s.source(2);
    uint64_t* to = s.target(0);
    const uint64_t sign = 1ull << (8 * size_of(s.in.type) - 1);
    each_lane(s.run, [&](int lane) { to[lane] = (a[lane] & sign) | (b[lane] & (sign - 1)); });
}

double sine(double x) {
    return std::sin(x);
}
double cosine(double x) {
    return std::cos(x);
}
double power_of_two(double x) {
    return std::exp2(x);
}
double logarithm(double x) {
    return std::log2(x);
}
double root(double x) {
    return std::sqrt(x);
}

}  // namespace

Executor arithmetic_executor(const Instruction& in) {
    static const std::map<std::string, Executor> known = {
        {"add", add},
        {"sub", subtract},
        {"addc", carried},
        {"subc", carried},
        {"mul", multiply},
        {"mad", multiply_add},
        {"madc", multiply_add},
        {"fma", fused},
        {"div", divide},
        {"rem", divide},
        {"min", binary<Least>},
        {"max", binary<Most>},
        {"neg", unary<Negate>},
        {"abs", unary<Magnitude>},
        {"sin", unary<Real<sine>>},
        {"cos", unary<Real<cosine>>},
        {"ex2", unary<Real<power_of_two>>},
        {"lg2", unary<Real<logarithm>>},
        {"sqrt", unary<Real<root>>},
        {"rcp", rcp},
        {"rsqrt", unary<Real<reciprocal_root>>},
        {"setp", compare},
        {"selp", select},
        {"copysign", copy_sign},
    };
    const auto found = known.find(in.name);
    const bool halves = in.type == Type::f16 || in.type == Type::f16x2;
    return found == known.end() || halves ? nullptr : found->second;
}

}  // namespace device
