// interpolate on the CPU: chunks of pixels over threads; and the device's pass on the host.
#include "interpolate/interpolate.h"
#include "launcher.h"
#include "parallel_cpu.h"

namespace xs {

void interpolate_cpu(const InterpolateArgs& args) {
    const auto chunk = XS_PICK(interpolate_chunk);
    parallel_ranges(args.n, 2048, [&](int64_t begin, int64_t end) { chunk(args, begin, end); });
}

void interpolate_emulated(const InterpolateArgs& args) {
    interpolate_passes(HostLauncher(), args);
}

}  // namespace xs
