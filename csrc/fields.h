// The fields of an args struct, listed once: the binding of the op is made of the list.
#pragma once

#include <tuple>

// Stands at the end of an args struct and names all of its fields in order. A field may be an args
// struct itself; from Python it is a dictionary then.
#define XS_FIELDS(...)                 \
    static const char* field_names() { \
        return #__VA_ARGS__;           \
    }                                  \
    auto fields() {                    \
        return std::tie(__VA_ARGS__);  \
    }
