// The one place where CPU bodies use threads.
#pragma once

#include <omp.h>

#include <cstdint>
#include <exception>

namespace xs {

// Runs body(chunk) for chunk in [0, chunks), chunks handed out one at a time.
//
// Results must not depend on which thread runs a chunk: a body writes only what its chunk owns.
// One region for the whole loop and dynamic hand-out: a static split waits for the slowest core
// whenever a neighbour uses one.
template <class Body>
void parallel_for(int64_t chunks, const Body& body) {
    if (chunks <= 0) {
        return;
    }
    const int threads = static_cast<int>(
        chunks < omp_get_max_threads() ? chunks : static_cast<int64_t>(omp_get_max_threads()));
    if (threads == 1) {
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            body(chunk);
        }
        return;
    }
    std::exception_ptr failure = nullptr;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        try {
            body(chunk);
        } catch (...) {
#pragma omp critical(xs_parallel_failure)
            if (!failure) {
                failure = std::current_exception();
            }
        }
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

// Runs body(begin, end) over [0, n) in pieces of `grain` items. The pieces depend on n and grain
// only, so sums kept per piece do not depend on the number of threads.
template <class Body>
void parallel_ranges(int64_t n, int64_t grain, const Body& body) {
    parallel_for((n + grain - 1) / grain, [&](int64_t chunk) {
        const int64_t begin = chunk * grain;
        const int64_t end = begin + grain < n ? begin + grain : n;
        body(begin, end);
    });
}

}  // namespace xs
