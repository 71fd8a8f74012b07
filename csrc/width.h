// Features a level as a constant of the compiler.
#pragma once

#include <type_traits>

#include "host_device.h"

namespace xs {

// Returns body(F) with `width` (1, 2, 4 or 8) as the constant F.
template <class Body>
XS_HD XS_ALWAYS_INLINE static auto with_width(int32_t width, const Body& body) {
    switch (width) {
        case 1:
            return body(std::integral_constant<int, 1>{});
        case 2:
            return body(std::integral_constant<int, 2>{});
        case 4:
            return body(std::integral_constant<int, 4>{});
        default:
            return body(std::integral_constant<int, 8>{});
    }
}

}  // namespace xs
