#include "ops/interpolate.h"
#include "parallel_cpu.h"

namespace xs {

void interpolate_cpu(const InterpolateArgs& args) {
    parallel_ranges(args.n, 2048, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            interpolate_one(args, i);
        }
    });
}

}  // namespace xs
