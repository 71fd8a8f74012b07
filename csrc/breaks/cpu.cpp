// breaks on the CPU: rows over threads; and the device's passes on the host.
#include <algorithm>
#include <vector>

#include "breaks/breaks.h"
#include "launcher.h"
#include "parallel_cpu.h"

namespace xs {

namespace {

// Where pixels of a row ask for a closer look, which most do not: loops without branches over
// numbers of one width, so that they become vectors.
void look_closer(const BreaksArgs& a, int64_t row, int32_t* closer) {
    const int64_t width = a.width;
    const int32_t* ids = a.face_id + row * width;
    const float* depths = a.depth + row * width;
    std::fill(closer, closer + width, 0);
    for (int k = 0; k < 4; ++k) {
        const int64_t first = (row + k / 2) * (width + 1) + k % 2;
        const int32_t* other_ids = a.corner_id + first;
        const float* others = a.corner_depth + first;
        for (int64_t i = 0; i < width; ++i) {
            closer[i] |= breaks_jump(ids[i], depths[i], other_ids[i], others[i], a.step) ? 1 : 0;
        }
    }
}

}  // namespace

void breaks_cpu(const BreaksArgs& a) {
    parallel_ranges(a.height, 8, [&](int64_t begin, int64_t end) {
        std::vector<int32_t> closer(a.width);
        for (int64_t row = begin; row < end; ++row) {
            uint8_t* flags = a.flags + row * a.width;
            look_closer(a, row, closer.data());
            for (int32_t column = 0; column < a.width; ++column) {
                flags[column] = closer[column] != 0
                                    ? breaks_pixel(a, static_cast<int32_t>(row), column)
                                    : uint8_t{0};
            }
        }
    });
    const int64_t columns = int64_t{a.width} + 1;
    std::fill(a.needed, a.needed + columns * (int64_t{a.height} + 1), kBreaksNot);
    // A corner belongs to two rows of pixels: those of even rows first, so that no two threads
    // write one.
    for (int64_t parity = 0; parity < 2; ++parity) {
        parallel_ranges((int64_t{a.height} + 1 - parity) / 2, 8, [&](int64_t begin, int64_t end) {
            for (int64_t half = begin; half < end; ++half) {
                const int64_t row = 2 * half + parity;
                const uint8_t* flags = a.flags + row * a.width;
                for (int64_t column = 0; column < a.width; ++column) {
                    for (int k = 0; flags[column] >> k != 0; ++k) {
                        if ((flags[column] >> k & 1) != 0) {
                            const int64_t at = (row + k / 2) * columns + column + k % 2;
                            a.needed[at] = a.corner_id[at];
                        }
                    }
                }
            }
        });
    }
}

void breaks_emulated(const BreaksArgs& a) {
    breaks_passes(HostLauncher(), a);
}

}  // namespace xs
