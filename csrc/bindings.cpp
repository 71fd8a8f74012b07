// The compiled module xscale._core: one row an op, plus build information. The only file that
// knows pybind11. Tensors arrive as (address, dtype code, number of elements); who owns them, and
// their shapes, is Python's business (xscale/ops/_ext.py).
#include <pybind11/pybind11.h>

#include <string>
#include <type_traits>
#include <vector>

#include "adam/adam.h"
#include "ceiling/ceiling.h"
#include "check.h"
#include "encode/encode.h"
#include "fused/frame.h"
#include "fused/step.h"
#include "interpolate/interpolate.h"
#include "isa.h"
#include "parallel_cpu.h"
#include "rasterize/rasterize.h"
#include "reproject/reproject.h"
#include "shade/film.h"
#include "shade/relu.h"

namespace py = pybind11;

namespace xs {

#if XSCALE_WITH_CUDA
int cuda_device_count();
#define XS_CUDA(function) function
#else
static int cuda_device_count() {
    return 0;
}
#define XS_CUDA(function) nullptr
#endif

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

// Fills one field of an args struct from its keyword.
template <class T>
void set_field(T& field, const std::string& name, const py::handle& value) {
    if constexpr (std::is_pointer_v<T>) {
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

template <class Args>
struct Field {
    std::string name;
    void (*set)(Args&, const std::string&, const py::handle&);
};

// Fills args from keywords: every field must be given, so a forgotten one is an error.
template <class Args>
Args filled(const std::string& op, const std::vector<Field<Args>>& fields,
            const py::kwargs& values) {
    Args args{};
    XS_CHECK(values.size() == fields.size(), op + " takes " + std::to_string(fields.size()) +
                                                 " fields, got " + std::to_string(values.size()));
    for (const auto& field : fields) {
        XS_CHECK(values.contains(field.name.c_str()), op + " needs field " + field.name);
        field.set(args, op + ": " + field.name, values[field.name.c_str()]);
    }
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

// One op: `cpu(args)`, where built `cuda(args, stream)`, and where the device kernel is written for
// blocks `emulated(args)`, the same on the host. Called from Python as op(body, stream, **fields),
// and as op_scratch(body, **fields) where the device bodies want working memory.
template <class Args>
void bind_op(py::module_& m, const char* name, void (*cpu)(const Args&),
             void (*cuda)(const Args&, void*), std::vector<Field<Args>> fields,
             void (*emulated)(const Args&) = nullptr, Scratch<Args> scratch = {}) {
    const std::string op = name;
    if (scratch.emulated != nullptr) {
        m.def((op + "_scratch").c_str(),
              [=](const std::string& body, const py::kwargs& values) -> int64_t {
                  const Args args = filled(op, fields, values);
                  XS_CHECK(body != "cuda" || scratch.cuda != nullptr, op + " has no CUDA body");
                  return body == "cuda" ? scratch.cuda(args) : scratch.emulated(args);
              });
    }
    m.def(name, [=](const std::string& body, uintptr_t stream, const py::kwargs& values) {
        const Args args = filled(op, fields, values);
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

#define XS_FIELD(Args, name)                                                       \
    Field<Args> {                                                                  \
        #name, [](Args& args, const std::string& label, const py::handle& value) { \
            set_field(args.name, label, value);                                    \
        }                                                                          \
    }

static void bind_adam(py::module_& m) {
    using A = AdamArgs;
    bind_op<A>(m, "adam", adam_cpu, XS_CUDA(adam_cuda),
               {XS_FIELD(A, param), XS_FIELD(A, grad), XS_FIELD(A, first), XS_FIELD(A, second),
                XS_FIELD(A, steps), XS_FIELD(A, touched), XS_FIELD(A, grad_stride),
                XS_FIELD(A, first_stride), XS_FIELD(A, second_stride), XS_FIELD(A, steps_stride),
                XS_FIELD(A, rows), XS_FIELD(A, width), XS_FIELD(A, step),
                XS_FIELD(A, learning_rate), XS_FIELD(A, beta1), XS_FIELD(A, beta2),
                XS_FIELD(A, epsilon), XS_FIELD(A, clear_grad), XS_FIELD(A, control)});
}

static void bind_ceilings(py::module_& m) {
    using E = EncodeArgs;
    bind_op<E>(
        m, "ceiling_gather", ceiling_gather_cpu, nullptr,
        {XS_FIELD(E, position), XS_FIELD(E, table), XS_FIELD(E, table_half), XS_FIELD(E, features),
         XS_FIELD(E, offsets), XS_FIELD(E, resolutions), XS_FIELD(E, scales), XS_FIELD(E, points),
         XS_FIELD(E, levels), XS_FIELD(E, width), XS_FIELD(E, smoothstep)});
    using A = CeilingArgs;
    bind_op<A>(m, "ceiling_stream", ceiling_stream_cpu, nullptr,
               {XS_FIELD(A, data), XS_FIELD(A, floats), XS_FIELD(A, sink)});
    using R = CeilingRowsArgs;
    bind_op<R>(m, "ceiling_rows", nullptr, XS_CUDA(ceiling_rows_cuda),
               {XS_FIELD(R, table), XS_FIELD(R, rows), XS_FIELD(R, words), XS_FIELD(R, visits),
                XS_FIELD(R, kind), XS_FIELD(R, together), XS_FIELD(R, collisions),
                XS_FIELD(R, in_order), XS_FIELD(R, sink)});
    bind_op<A>(m, "ceiling_multiply", ceiling_multiply_cpu, nullptr,
               {XS_FIELD(A, products), XS_FIELD(A, bfloat16), XS_FIELD(A, sink)});
}

static void bind_encode(py::module_& m) {
    using A = EncodeArgs;
    const std::vector<Field<A>> fields = {
        XS_FIELD(A, position),   XS_FIELD(A, table),           XS_FIELD(A, table_half),
        XS_FIELD(A, footprint),  XS_FIELD(A, features),        XS_FIELD(A, grad_features),
        XS_FIELD(A, grad_table), XS_FIELD(A, touched),         XS_FIELD(A, grad_position),
        XS_FIELD(A, offsets),    XS_FIELD(A, resolutions),     XS_FIELD(A, scales),
        XS_FIELD(A, points),     XS_FIELD(A, levels),          XS_FIELD(A, width),
        XS_FIELD(A, smoothstep), XS_FIELD(A, footprint_scale), XS_FIELD(A, grad_stride),
    };
    bind_op<A>(m, "encode", encode_cpu, XS_CUDA(encode_cuda), fields, encode_emulated);
    bind_op<A>(m, "encode_backward", encode_backward_cpu, XS_CUDA(encode_backward_cuda), fields,
               encode_backward_emulated);
    bind_op<A>(m, "encode_backward_position", encode_backward_position_cpu,
               XS_CUDA(encode_backward_position_cuda), fields);
}

static void bind_fused_frame(py::module_& m) {
    using A = FusedFrameArgs;
    bind_op<A>(m, "fused_frame", fused_frame_cpu, XS_CUDA(fused_frame_cuda),
               {XS_FIELD(A, vertices),    XS_FIELD(A, faces),      XS_FIELD(A, camera),
                XS_FIELD(A, face_id),     XS_FIELD(A, left),       XS_FIELD(A, top),
                XS_FIELD(A, width),       XS_FIELD(A, height),     XS_FIELD(A, offset_x),
                XS_FIELD(A, offset_y),    XS_FIELD(A, box),        XS_FIELD(A, footprint_unit),
                XS_FIELD(A, table),       XS_FIELD(A, table_half), XS_FIELD(A, offsets),
                XS_FIELD(A, resolutions), XS_FIELD(A, scales),     XS_FIELD(A, levels),
                XS_FIELD(A, features),    XS_FIELD(A, smoothstep), XS_FIELD(A, footprint_scale),
                XS_FIELD(A, shader),      XS_FIELD(A, weights),    XS_FIELD(A, light),
                XS_FIELD(A, exposure),    XS_FIELD(A, hidden),     XS_FIELD(A, sh_degree),
                XS_FIELD(A, range),       XS_FIELD(A, rgb),        XS_FIELD(A, scratch)},
               fused_frame_emulated, {fused_frame_scratch, XS_CUDA(fused_frame_scratch)});
}

static void bind_fused_step(py::module_& m) {
    using A = FusedStepArgs;
    bind_op<A>(m, "fused_step", fused_step_cpu, XS_CUDA(fused_step_cuda),
               {XS_FIELD(A, vertices),
                XS_FIELD(A, faces),
                XS_FIELD(A, cameras),
                XS_FIELD(A, camera_index),
                XS_FIELD(A, pixel),
                XS_FIELD(A, face_id),
                XS_FIELD(A, target),
                XS_FIELD(A, target_range),
                XS_FIELD(A, centre),
                XS_FIELD(A, unit),
                XS_FIELD(A, footprint_unit),
                XS_FIELD(A, table),
                XS_FIELD(A, first),
                XS_FIELD(A, second),
                XS_FIELD(A, steps),
                XS_FIELD(A, first_stride),
                XS_FIELD(A, second_stride),
                XS_FIELD(A, steps_stride),
                XS_FIELD(A, offsets),
                XS_FIELD(A, resolutions),
                XS_FIELD(A, scales),
                XS_FIELD(A, levels),
                XS_FIELD(A, width),
                XS_FIELD(A, smoothstep),
                XS_FIELD(A, footprint_scale),
                XS_FIELD(A, learning_rate),
                XS_FIELD(A, beta1),
                XS_FIELD(A, beta2),
                XS_FIELD(A, epsilon),
                XS_FIELD(A, weights),
                XS_FIELD(A, light),
                XS_FIELD(A, exposure),
                XS_FIELD(A, grad_weights),
                XS_FIELD(A, grad_light),
                XS_FIELD(A, grad_exposure),
                XS_FIELD(A, hidden),
                XS_FIELD(A, sh_degree),
                XS_FIELD(A, photos),
                XS_FIELD(A, gradient),
                XS_FIELD(A, gradient_fixed),
                XS_FIELD(A, touched),
                XS_FIELD(A, loss),
                XS_FIELD(A, sums),
                XS_FIELD(A, seconds),
                XS_FIELD(A, rays),
                XS_FIELD(A, control),
                XS_FIELD(A, mixed),
                XS_FIELD(A, gradient_half),
                XS_FIELD(A, scratch)},
               fused_step_emulated, {fused_step_scratch, XS_CUDA(fused_step_scratch_cuda)});
}

static void bind_interpolate(py::module_& m) {
    using A = InterpolateArgs;
    bind_op<A>(m, "interpolate", interpolate_cpu, XS_CUDA(interpolate_cuda),
               {XS_FIELD(A, vertices), XS_FIELD(A, faces), XS_FIELD(A, normals),
                XS_FIELD(A, cameras), XS_FIELD(A, camera_index), XS_FIELD(A, pixel),
                XS_FIELD(A, face_id), XS_FIELD(A, n), XS_FIELD(A, position), XS_FIELD(A, normal),
                XS_FIELD(A, direction), XS_FIELD(A, footprint), XS_FIELD(A, depth)});
}

static void bind_rasterize(py::module_& m) {
    using A = RasterizeArgs;
    bind_op<A>(
        m, "rasterize", rasterize_cpu, XS_CUDA(rasterize_cuda),
        {XS_FIELD(A, points), XS_FIELD(A, corners), XS_FIELD(A, face_ids),
         XS_FIELD(A, cluster_start), XS_FIELD(A, point_start), XS_FIELD(A, cluster_box),
         XS_FIELD(A, clusters), XS_FIELD(A, camera), XS_FIELD(A, left), XS_FIELD(A, top),
         XS_FIELD(A, width), XS_FIELD(A, height), XS_FIELD(A, offset_x), XS_FIELD(A, offset_y),
         XS_FIELD(A, face_id), XS_FIELD(A, depth), XS_FIELD(A, scratch)},
        rasterize_emulated, {rasterize_scratch, XS_CUDA(rasterize_scratch)});
}

static void bind_reproject(py::module_& m) {
    using A = ReprojectArgs;
    bind_op<A>(m, "reproject", reproject_cpu, XS_CUDA(reproject_cuda),
               {XS_FIELD(A, vertices),  XS_FIELD(A, faces),       XS_FIELD(A, camera),
                XS_FIELD(A, face_id),   XS_FIELD(A, left),        XS_FIELD(A, top),
                XS_FIELD(A, width),     XS_FIELD(A, height),      XS_FIELD(A, offset_x),
                XS_FIELD(A, offset_y),  XS_FIELD(A, key_cameras), XS_FIELD(A, key_colour),
                XS_FIELD(A, key_depth), XS_FIELD(A, key_height),  XS_FIELD(A, key_width),
                XS_FIELD(A, order),     XS_FIELD(A, keys),        XS_FIELD(A, tolerance),
                XS_FIELD(A, sharper),   XS_FIELD(A, coarser),     XS_FIELD(A, rgb),
                XS_FIELD(A, depth),     XS_FIELD(A, missing)},
               reproject_emulated);
}

static void bind_shade_relu(py::module_& m) {
    using A = ShadeReluArgs;
    bind_op<A>(
        m, "shade_relu", shade_relu_cpu, XS_CUDA(shade_relu_cuda),
        {XS_FIELD(A, features), XS_FIELD(A, direction), XS_FIELD(A, weights), XS_FIELD(A, exposure),
         XS_FIELD(A, photo), XS_FIELD(A, rgb), XS_FIELD(A, rays), XS_FIELD(A, width),
         XS_FIELD(A, hidden), XS_FIELD(A, sh_degree), XS_FIELD(A, scratch)},
        shade_relu_emulated, {shade_relu_scratch, XS_CUDA(shade_relu_scratch_cuda)});
    bind_op<A>(m, "shade_relu_gradient", shade_relu_gradient_cpu, XS_CUDA(shade_relu_gradient_cuda),
               {XS_FIELD(A, features),     XS_FIELD(A, direction),     XS_FIELD(A, weights),
                XS_FIELD(A, exposure),     XS_FIELD(A, photo),         XS_FIELD(A, grad_rgb),
                XS_FIELD(A, target),       XS_FIELD(A, target_bytes),  XS_FIELD(A, ray_weight),
                XS_FIELD(A, rgb),          XS_FIELD(A, ray_loss),      XS_FIELD(A, grad_features),
                XS_FIELD(A, grad_weights), XS_FIELD(A, grad_exposure), XS_FIELD(A, rays),
                XS_FIELD(A, width),        XS_FIELD(A, hidden),        XS_FIELD(A, sh_degree),
                XS_FIELD(A, photos),       XS_FIELD(A, loss),          XS_FIELD(A, scale),
                XS_FIELD(A, scratch)},
               shade_relu_gradient_emulated,
               {shade_relu_scratch, XS_CUDA(shade_relu_gradient_scratch_cuda)});
}

static void bind_shade_film(py::module_& m) {
    using A = ShadeFilmArgs;
    bind_op<A>(m, "shade_film", shade_film_cpu, XS_CUDA(shade_film_cuda),
               {XS_FIELD(A, features), XS_FIELD(A, direction), XS_FIELD(A, weights),
                XS_FIELD(A, light), XS_FIELD(A, exposure), XS_FIELD(A, photo), XS_FIELD(A, rgb),
                XS_FIELD(A, rays), XS_FIELD(A, width), XS_FIELD(A, hidden), XS_FIELD(A, scratch)},
               shade_film_emulated, {shade_film_scratch, XS_CUDA(shade_film_scratch_cuda)});
    bind_op<A>(m, "shade_film_gradient", shade_film_gradient_cpu, XS_CUDA(shade_film_gradient_cuda),
               {XS_FIELD(A, features),      XS_FIELD(A, direction),    XS_FIELD(A, weights),
                XS_FIELD(A, light),         XS_FIELD(A, exposure),     XS_FIELD(A, photo),
                XS_FIELD(A, grad_rgb),      XS_FIELD(A, target),       XS_FIELD(A, target_bytes),
                XS_FIELD(A, ray_weight),    XS_FIELD(A, rgb),          XS_FIELD(A, ray_loss),
                XS_FIELD(A, grad_features), XS_FIELD(A, grad_weights), XS_FIELD(A, grad_light),
                XS_FIELD(A, grad_exposure), XS_FIELD(A, rays),         XS_FIELD(A, width),
                XS_FIELD(A, hidden),        XS_FIELD(A, photos),       XS_FIELD(A, loss),
                XS_FIELD(A, scale),         XS_FIELD(A, scratch)},
               shade_film_gradient_emulated,
               {shade_film_scratch, XS_CUDA(shade_film_scratch_cuda)});
}

}  // namespace xs

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled bodies of the ops; call them through xscale.ops.";
    m.attr("ops") = py::dict();
    xs::bind_adam(m);
    xs::bind_ceilings(m);
    xs::bind_encode(m);
    xs::bind_fused_frame(m);
    xs::bind_fused_step(m);
    xs::bind_interpolate(m);
    xs::bind_rasterize(m);
    xs::bind_reproject(m);
    xs::bind_shade_film(m);
    xs::bind_shade_relu(m);
#if XSCALE_WITH_CUDA
    m.attr("cuda_built") = true;
#else
    m.attr("cuda_built") = false;
#endif
    m.def("isa", [] { return xs::isa_name(xs::active_isa()); });
    m.def("cuda_device_count", &xs::cuda_device_count);
    m.def("max_threads", [] { return omp_get_max_threads(); });
    // Threads that ops called from this thread may use; other threads keep theirs.
    m.def("set_threads", [](int threads) { omp_set_num_threads(threads < 1 ? 1 : threads); });
}
