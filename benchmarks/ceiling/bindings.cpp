// The compiled module xscale_comparisons._ceiling: what the benchmarks time beside the ops.
#include "binding.h"
#include "ceiling/ceiling.h"

#if XSCALE_WITH_CUDA
#define XS_CUDA(function) function
#else
#define XS_CUDA(function) nullptr
#endif

PYBIND11_MODULE(_ceiling, m) {
    using namespace xs;
    m.doc() = "Ceilings; call them through xscale_comparisons.ceiling.";
    m.attr("ops") = py::dict();
    bind_op<EncodeArgs>(m, "ceiling_gather", ceiling_gather_cpu, nullptr);
    bind_op<CeilingArgs>(m, "ceiling_stream", ceiling_stream_cpu, nullptr);
    bind_op<CeilingRowsArgs>(m, "ceiling_rows", nullptr, XS_CUDA(ceiling_rows_cuda));
    bind_op<CeilingArgs>(m, "ceiling_multiply", ceiling_multiply_cpu, nullptr);
}
