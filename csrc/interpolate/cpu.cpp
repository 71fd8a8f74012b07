// interpolate on the CPU: chunks of pixels over threads.
#include "interpolate/interpolate.h"
#include "parallel_cpu.h"

namespace xs {

void interpolate_cpu(const InterpolateArgs& args) {
    const auto chunk = XS_PICK(interpolate_chunk);
    parallel_ranges(args.n, 2048, [&](int64_t begin, int64_t end) { chunk(args, begin, end); });
}

}  // namespace xs
