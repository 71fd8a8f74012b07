// Checks for what only C++ can know; Python has checked shapes and dtypes before.
#pragma once

#include <stdexcept>
#include <string>

#define XS_CHECK(condition, message)                                       \
    do {                                                                   \
        if (!(condition)) {                                                \
            throw std::runtime_error(std::string("xscale: ") + (message)); \
        }                                                                  \
    } while (false)
