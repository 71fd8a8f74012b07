// How the CPU bodies share the rows of a grid among threads.
#pragma once

#include <algorithm>

#include "encode/encode.h"
#include "parallel_cpu.h"

namespace xs {

// Runs body(level, first row, end row) over all rows, counted within their level, in ranges cut at
// multiples of 8. Whoever takes a range goes through all points: no atomics, and a row sums in the
// order of the points whatever the number of threads or ranges. Every range of a level repeats the
// index work, so levels are cut only as far as threads need.
template <class Body>
void encode_row_ranges(const EncodeGrid& grid, int32_t levels, const Body& body) {
    const int64_t wanted = 4 * static_cast<int64_t>(omp_get_max_threads());
    const int64_t ranges = std::max<int64_t>(1, wanted / levels);
    parallel_for(levels * ranges, [&](int64_t index) {
        // The finest level first: large pieces at the end would leave threads idle.
        const int32_t l = levels - 1 - static_cast<int32_t>(index / ranges);
        const int64_t rows = grid.level[l].rows;
        const auto cut = [&](int64_t i) {
            return static_cast<uint32_t>(i == ranges ? rows : rows * i / ranges / 8 * 8);
        };
        body(l, cut(index % ranges), cut(index % ranges + 1));
    });
}

}  // namespace xs
