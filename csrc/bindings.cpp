// The compiled module xscale._core: one row an op, plus build information.
#include "adam/adam.h"
#include "binding.h"
#include "breaks/breaks.h"
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
#include "sides/sides.h"

namespace xs {

#if XSCALE_WITH_CUDA
int cuda_device_count();
void set_cuda_device(int device);
#define XS_CUDA(function) function
#else
static int cuda_device_count() {
    return 0;
}
static void set_cuda_device(int) {}
#define XS_CUDA(function) nullptr
#endif

static void bind_ops(py::module_& m) {
    bind_op<AdamArgs>(m, "adam", adam_cpu, XS_CUDA(adam_cuda), adam_emulated);
    bind_op<BreaksArgs>(m, "breaks", breaks_cpu, XS_CUDA(breaks_cuda), breaks_emulated);
    bind_op<EncodeArgs>(m, "encode", encode_cpu, XS_CUDA(encode_cuda), encode_emulated);
    bind_op<EncodeArgs>(m, "encode_backward", encode_backward_cpu, XS_CUDA(encode_backward_cuda),
                        encode_backward_emulated);
    bind_op<EncodeArgs>(m, "encode_backward_position", encode_backward_position_cpu,
                        XS_CUDA(encode_backward_position_cuda), encode_backward_position_emulated);
    bind_op<FusedFrameArgs>(m, "fused_frame", fused_frame_cpu, XS_CUDA(fused_frame_cuda),
                            fused_frame_emulated,
                            {fused_frame_scratch, XS_CUDA(fused_frame_scratch_cuda)});
    bind_op<FusedStepArgs>(m, "fused_step", fused_step_cpu, XS_CUDA(fused_step_cuda),
                           fused_step_emulated,
                           {fused_step_scratch, XS_CUDA(fused_step_scratch_cuda)});
    bind_op<InterpolateArgs>(m, "interpolate", interpolate_cpu, XS_CUDA(interpolate_cuda),
                             interpolate_emulated);
    bind_op<RasterizeArgs>(m, "rasterize", rasterize_cpu, XS_CUDA(rasterize_cuda),
                           rasterize_emulated,
                           {rasterize_scratch, XS_CUDA(rasterize_scratch_cuda)});
    bind_op<ReprojectArgs>(m, "reproject", reproject_cpu, XS_CUDA(reproject_cuda),
                           reproject_emulated);
    bind_op<ShadeArgs>(m, "shade_film", shade_film_cpu, XS_CUDA(shade_film_cuda),
                       shade_film_emulated, {shade_film_scratch, XS_CUDA(shade_film_scratch_cuda)});
    bind_op<ShadeArgs>(m, "shade_film_gradient", shade_film_gradient_cpu,
                       XS_CUDA(shade_film_gradient_cuda), shade_film_gradient_emulated,
                       {shade_film_scratch, XS_CUDA(shade_film_scratch_cuda)});
    bind_op<ShadeArgs>(m, "shade_relu", shade_relu_cpu, XS_CUDA(shade_relu_cuda),
                       shade_relu_emulated, {shade_relu_scratch, XS_CUDA(shade_relu_scratch_cuda)});
    bind_op<ShadeArgs>(m, "shade_relu_gradient", shade_relu_gradient_cpu,
                       XS_CUDA(shade_relu_gradient_cuda), shade_relu_gradient_emulated,
                       {shade_relu_scratch, XS_CUDA(shade_relu_gradient_scratch_cuda)});
    bind_op<SidesArgs>(m, "sides", sides_cpu, XS_CUDA(sides_cuda), sides_emulated);
}

}  // namespace xs

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled bodies of the ops; call them through xscale.ops.";
    m.attr("ops") = py::dict();
    xs::bind_ops(m);
#if XSCALE_WITH_CUDA
    m.attr("cuda_built") = true;
#else
    m.attr("cuda_built") = false;
#endif
    m.def("isa", [] { return xs::isa_name(xs::active_isa()); });
    m.def("cuda_device_count", &xs::cuda_device_count);
    m.def("set_cuda_device", &xs::set_cuda_device);
    m.def("max_threads", [] { return omp_get_max_threads(); });
    // Threads that ops called from this thread may use; other threads keep theirs.
    m.def("set_threads", [](int threads) { omp_set_num_threads(threads < 1 ? 1 : threads); });
}
