// Bindings of ops, made from the fields that their args structs list (fields.h). The only header
// that knows pybind11. Tensors arrive as (address, dtype code, number of elements); who owns them,
// and their shapes, is Python's business (xscale/ops/_ext.py).
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "camera/camera.h"
#include "check.h"
#include "fields.h"
#include "half.h"

namespace py = pybind11;

namespace xs {

template <class T>
const char* dtype_code() {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_same_v<U, float>) {
        return "f4";
    } else if constexpr (std::is_same_v<U, double> || std::is_same_v<U, Camera>) {
        return "f8";
    } else if constexpr (std::is_same_v<U, Half>) {
        return "f2";
    } else if constexpr (std::is_same_v<U, int32_t>) {
        return "i4";
    } else if constexpr (std::is_same_v<U, int64_t>) {
        return "i8";
    } else if constexpr (std::is_same_v<U, uint16_t>) {
        return "u2";
    } else if constexpr (std::is_same_v<U, int16_t>) {
        return "i2";
    } else {
        static_assert(std::is_same_v<U, uint8_t>, "a dtype without a code");
        return "u1";
    }
}

template <class T, class = void>
constexpr bool kHasFields = false;
template <class T>
constexpr bool kHasFields<T, std::void_t<decltype(T::field_names())>> = true;

// Stands for a field of any type, to count the fields of a struct.
struct Anything {
    template <class T>
    operator T() const;
};

template <class T, class... Fields>
auto braces(int, Fields... fields) -> decltype(T{fields...}, std::true_type{});
template <class T>
std::false_type braces(...);

// Number of a struct's fields: the most that an initializer may give.
template <class T, class... Fields>
constexpr int count_fields() {
    if constexpr (decltype(braces<T>(0, std::declval<Fields>()..., Anything{}))::value) {
        return count_fields<T, Fields..., Anything>();
    } else {
        return static_cast<int>(sizeof...(Fields));
    }
}

template <class T, class = void>
constexpr int kUnlisted = 0;
template <class T>
constexpr int kUnlisted<T, std::void_t<decltype(T::kUnlisted)>> = T::kUnlisted;

template <class Args>
void fill(Args& args, const std::string& path, const py::dict& values);

// Fills one field of an args struct from its keyword.
template <class T>
void set_field(T& field, const std::string& name, const py::handle& value) {
    if constexpr (kHasFields<T>) {
        fill(field, name, py::reinterpret_borrow<py::dict>(value));
    } else if constexpr (std::is_pointer_v<T>) {
        if (value.is_none()) {
            field = nullptr;
            return;
        }
        const auto view = py::reinterpret_borrow<py::tuple>(value);
        const auto code = view[1].cast<std::string>();
        XS_CHECK(code == dtype_code<std::remove_pointer_t<T>>(),
                 name + " must be " + dtype_code<std::remove_pointer_t<T>>() + ", got " + code);
        field = reinterpret_cast<T>(view[0].cast<uintptr_t>());
    } else {
        field = value.cast<T>();
    }
}

// Fills args from keywords: every field must be given, so a forgotten one is an error.
template <class Args>
void fill(Args& args, const std::string& path, const py::dict& values) {
    auto fields = args.fields();
    constexpr size_t kFields = std::tuple_size_v<decltype(fields)>;
    static_assert(kFields + kUnlisted<Args> == count_fields<Args>(), "XS_FIELDS lacks a field");
    XS_CHECK(values.size() == kFields, path + " takes " + std::to_string(kFields) +
                                           " fields, got " + std::to_string(values.size()));
    const std::string names = Args::field_names();
    size_t begin = 0;
    const auto next = [&](auto& field) {
        const size_t end = std::min(names.find(',', begin), names.size());
        const std::string name = names.substr(begin, end - begin);
        begin = end + 2;
        XS_CHECK(values.contains(name.c_str()), path + " needs field " + name);
        set_field(field, path + ": " + name, values[name.c_str()]);
    };
    std::apply([&](auto&... field) { (next(field), ...); }, fields);
}

template <class Args>
Args filled(const std::string& op, const py::kwargs& values) {
    Args args{};
    fill(args, op, values);
    return args;
}

// Bytes of working memory that an op's device body wants in args.scratch; on the host (emulated)
// or on the device. The caller's allocator gives them: kernels that took memory themselves could
// not be recorded into a CUDA graph.
template <class Args>
struct Scratch {
    int64_t (*emulated)(const Args&);
    int64_t (*cuda)(const Args&);
};

// One op: `cpu(args)`, where built `cuda(args, stream)`, and `emulated(args)`, the device's passes
// on the host. Called from Python as op(body, stream, **fields), and as op_scratch(body, **fields)
// where the device bodies want working memory.
template <class Args>
void bind_op(py::module_& m, const char* name, void (*cpu)(const Args&),
             void (*cuda)(const Args&, void*), void (*emulated)(const Args&) = nullptr,
             Scratch<Args> scratch = {}) {
    const std::string op = name;
    if (scratch.emulated != nullptr) {
        m.def((op + "_scratch").c_str(),
              [=](const std::string& body, const py::kwargs& values) -> int64_t {
                  const Args args = filled<Args>(op, values);
                  XS_CHECK(body != "cuda" || scratch.cuda != nullptr, op + " has no CUDA body");
                  return body == "cuda" ? scratch.cuda(args) : scratch.emulated(args);
              });
    }
    m.def(name, [=](const std::string& body, uintptr_t stream, const py::kwargs& values) {
        const Args args = filled<Args>(op, values);
        py::gil_scoped_release release;
        if (body == "cpu") {
            XS_CHECK(cpu != nullptr, op + " has no CPU body");
            cpu(args);
        } else if (body == "emulated") {
            XS_CHECK(emulated != nullptr, op + " has no emulated body");
            emulated(args);
        } else {
            XS_CHECK(cuda != nullptr, op + " has no CUDA body in this build");
            cuda(args, reinterpret_cast<void*>(stream));
        }
    });
    m.attr("ops").cast<py::dict>()[name] =
        py::make_tuple(cpu != nullptr, cuda != nullptr, emulated != nullptr);
}

}  // namespace xs
