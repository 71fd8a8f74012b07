// The part of the CUDA runtime that launchers ask for, and what tests say to the device.
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "counts.h"
#include "warp.h"

#define XS_API extern "C" __attribute__((visibility("default")))

using device::options;

namespace {

struct Dim3 {
    unsigned x, y, z;
};
struct Configuration {
    Dim3 grid, block;
    size_t shared;
    void* stream;
};

thread_local Configuration configuration;
int last_error = 0;

constexpr int kInvalidConfiguration = 9, kUnknownFunction = 98;
// cudaDevAttr...: multiprocessors, shared memory of a multiprocessor, of a block, and kept of it.
constexpr int kProcessors = 16, kProcessorShared = 81, kMostShared = 97, kReservedShared = 111;
constexpr int kReserved = 1024;

std::map<const void*, std::string>& kernel_names() {
    static std::map<const void*, std::string> names;
    return names;
}

int launched(const std::string& name, Dim3 grid, Dim3 block, void** arguments, size_t shared) {
    const auto found = device::program().functions.find(name);
    if (found == device::program().functions.end()) {
        device::report("kernel without PTX: " + name);
        return kUnknownFunction;
    }
    if (grid.y != 1 || grid.z != 1 || block.y != 1 || block.z != 1) {
        return kInvalidConfiguration;
    }
    const device::Function& kernel = *found->second;
    std::vector<char> params(8192);
    for (size_t k = 0; k < kernel.parameters.size(); ++k) {
        std::memcpy(&params[kernel.parameters[k].offset], arguments[k], kernel.parameters[k].size);
    }
    return device::launch(kernel, grid.x, block.x, shared, params.data());
}

}  // namespace

// Functions that nvcc's host code calls.
XS_API void** __cudaRegisterFatBinary(void*) {
    static void* handle;
    return &handle;
}
XS_API void __cudaRegisterFatBinaryEnd(void**) {}
XS_API void __cudaUnregisterFatBinary(void**) {}
XS_API void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, void*,
                                   void*, void*, void*, int*) {
    kernel_names()[host] = name;
}
XS_API unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, size_t shared, void* stream) {
    configuration = {grid, block, shared, stream};
    return 0;
}
XS_API int __cudaPopCallConfiguration(Dim3* grid, Dim3* block, size_t* shared, void* stream) {
    *grid = configuration.grid;
    *block = configuration.block;
    *shared = configuration.shared;
    *static_cast<void**>(stream) = configuration.stream;
    return 0;
}
XS_API int __cudaGetKernel(const void** kernel, const void* host) {
    *kernel = host;
    return 0;
}
XS_API int cudaLaunchKernel(const void* host, Dim3 grid, Dim3 block, void** arguments,
                            size_t shared, void*) {
    const auto name = kernel_names().find(host);
    last_error = name == kernel_names().end()
                     ? kUnknownFunction
                     : launched(name->second, grid, block, arguments, shared);
    return last_error;
}
XS_API int __cudaLaunchKernel(const void* kernel, Dim3 grid, Dim3 block, void** arguments,
                              size_t shared, void* stream) {
    return cudaLaunchKernel(kernel, grid, block, arguments, shared, stream);
}
XS_API int cudaGetLastError() {
    const int error = last_error;
    last_error = 0;
    return error;
}
XS_API const char* cudaGetErrorString(int error) {
    return error == 0                       ? "no error"
           : error == kInvalidConfiguration ? "invalid configuration argument"
                                            : "invalid device function";
}
XS_API int cudaGetDevice(int* number) {
    *number = 0;
    return 0;
}
XS_API int cudaSetDevice(int) {
    return 0;
}
XS_API int cudaGetDeviceCount(int* count) {
    *count = 1;
    return 0;
}
XS_API int cudaDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case kProcessors:
            *value = options().processors;
            return 0;
        case kMostShared:
            *value = options().most_shared;
            return 0;
        case kProcessorShared:
            *value = options().most_shared + kReserved;
            return 0;
        case kReservedShared:
            *value = kReserved;
            return 0;
        default:
            return 1;
    }
}
XS_API int cudaFuncSetAttribute(const void*, int, int value) {
    return last_error = value > options().most_shared ? 1 : 0;
}
XS_API int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int,
                                                                  size_t, unsigned) {
    *blocks = options().resident;
    return 0;
}
XS_API int cudaMemsetAsync(void* memory, int value, size_t bytes, void*) {
    std::memset(memory, value, bytes);
    return 0;
}

// Functions that tests call. Names and texts are UTF-8; texts last until the next call.
XS_API const char* device_load(const char* path) {
    static std::string error;
    try {
        device::load_program(path);
        error.clear();
    } catch (const std::exception& e) {
        error = e.what();
    }
    return error.c_str();
}
XS_API int device_option(const char* name, int value) {
    auto& o = options();
    const std::map<std::string, int*> numbers = {{"order", &o.order},
                                                 {"processors", &o.processors},
                                                 {"most_shared", &o.most_shared},
                                                 {"resident", &o.resident}};
    const std::map<std::string, bool*> switches = {
        {"races", &o.races}, {"bounds", &o.bounds}, {"counts", &o.counts}};
    const auto number = numbers.find(name);
    const auto flag = switches.find(name);
    if (number != numbers.end()) {
        *number->second = value;
    } else if (flag != switches.end()) {
        *flag->second = value != 0;
    } else {
        return 1;
    }
    return 0;
}
XS_API void device_allow(uint64_t begin, uint64_t bytes) {
    device::allow(begin, bytes);
}
XS_API void device_forget() {
    device::forget_allowed();
}
XS_API int device_launch(const char* name, unsigned blocks, unsigned threads, size_t shared,
                         void** arguments) {
    return launched(name, {blocks, 1, 1}, {threads, 1, 1}, arguments, shared);
}
// Findings since the last call, a line each.
XS_API const char* device_reports() {
    static std::string text;
    text.clear();
    for (const auto& [what, times] : device::reports()) {
        text += what + ", " + std::to_string(times) + " times\n";
    }
    device::reports().clear();
    return text.c_str();
}
XS_API const char* device_counts() {
    static std::string text;
    text = device::counts_text();
    device::all_counts().clear();
    for (auto& [name, function] : device::program().functions) {
        for (auto& in : function->code) {
            in.executed = 0;
        }
    }
    return text.c_str();
}
