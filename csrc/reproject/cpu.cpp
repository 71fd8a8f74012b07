// reproject on the CPU: rows over threads, and the device's pass for the emulation.
#include <vector>

#include "launcher.h"
#include "parallel_cpu.h"
#include "reproject/reproject.h"

namespace xs {

void reproject_cpu(const ReprojectArgs& a) {
    std::vector<ReprojectKey> keys;
    for (int64_t k = 0; k < a.keys; ++k) {
        keys.push_back(reproject_key(*a.camera, a.key_cameras[a.order[k]]));
    }
    const auto rows = XS_PICK(reproject_rows);
    parallel_ranges(a.width > 0 ? a.height : 0, 8,
                    [&](int64_t begin, int64_t end) { rows(a, keys.data(), begin, end); });
}

void reproject_emulated(const ReprojectArgs& args) {
    reproject_passes(HostLauncher(), args);
}

}  // namespace xs
