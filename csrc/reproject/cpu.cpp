// reproject on the CPU: pixels over threads, and the device's items for the emulation.
#include "parallel_cpu.h"
#include "reproject/reproject.h"

namespace xs {

void reproject_cpu(const ReprojectArgs& args) {
    const auto chunk = XS_PICK(reproject_chunk);
    parallel_ranges(args.width * args.height, 4096,
                    [&](int64_t begin, int64_t end) { chunk(args, begin, end); });
}

void reproject_emulated(const ReprojectArgs& args) {
    parallel_ranges(args.width * args.height, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            reproject_one(args, i);
        }
    });
}

}  // namespace xs
