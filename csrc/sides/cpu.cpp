// sides on the CPU: ranges of pixels over threads; and the device's pass on the host.
#include "launcher.h"
#include "parallel_cpu.h"
#include "sides/sides.h"

namespace xs {

void sides_cpu(const SidesArgs& a) {
    parallel_ranges(a.n, 8192, [&](int64_t begin, int64_t end) { sides_range(a, begin, end); });
}

void sides_emulated(const SidesArgs& a) {
    sides_passes(HostLauncher(), a);
}

}  // namespace xs
