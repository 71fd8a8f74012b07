// Registers as numbers of C++'s types.
#pragma once

#include <cstring>

#include "warp.h"

namespace device {

template <class T>
inline T get(const uint64_t* lanes, int lane) {
    T value;
    std::memcpy(&value, &lanes[lane], sizeof value);
    return value;
}

template <class T>
inline void put(uint64_t* lanes, int lane, T value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    lanes[lane] = bits;
}

// Calls body(T{}) with the C++ type.
template <class Body>
inline void with_type(Type type, const Body& body) {
    switch (type) {
        case Type::pred:
        case Type::u8:
        case Type::b8:
            return body(uint8_t{});
        case Type::s8:
            return body(int8_t{});
        case Type::u16:
        case Type::b16:
        case Type::f16:
            return body(uint16_t{});
        case Type::s16:
            return body(int16_t{});
        case Type::s32:
            return body(int32_t{});
        case Type::s64:
            return body(int64_t{});
        case Type::u64:
        case Type::b64:
            return body(uint64_t{});
        case Type::f32:
            return body(float{});
        case Type::f64:
            return body(double{});
        default:
            return body(uint32_t{});
    }
}

// A number's bits cut to a type's, from the lowest.
inline uint64_t cut_to(Type type, uint64_t bits) {
    const int away = 64 - 8 * size_of(type);
    return bits << away >> away;
}

}  // namespace device
