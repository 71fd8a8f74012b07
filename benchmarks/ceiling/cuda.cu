// Ceilings on a GPU: reads, additions and minima at random rows of a table.
#include "ceiling/ceiling.h"
#include "parallel_cuda.cuh"
#include "rows.h"

namespace xs {

// The row of visit `i`.
static __device__ int64_t visited(const CeilingRowsArgs& a, int64_t i) {
    const int64_t group = a.collisions > 1 ? i / a.collisions : i;
    if (a.in_order) {
        return group % a.rows;
    }
    uint32_t hash = static_cast<uint32_t>(group) * 2654435761u;
    hash = (hash ^ hash >> 15) * 2246822519u;
    hash ^= hash >> 13;
    return static_cast<int64_t>(static_cast<uint64_t>(hash) * static_cast<uint64_t>(a.rows) >> 32);
}

// Rows that a thread reads at once, none of which needs another.
template <int kWords, int kTogether>
static void read(const CeilingRowsArgs& args, cudaStream_t stream) {
    const CeilingRowsArgs a = args;
    const int64_t threads = a.visits / kTogether;
    parallel_for_cuda("ceiling_rows", threads, stream, [a, threads] __device__(int64_t i) {
        float rows[kTogether][kWords];
        XS_UNROLL
        for (int k = 0; k < kTogether; ++k) {
            row_load<kWords>(a.table + visited(a, i + k * threads) * kWords, rows[k]);
        }
        float sum = 0.0f;
        XS_UNROLL
        for (int k = 0; k < kTogether; ++k) {
            XS_UNROLL
            for (int f = 0; f < kWords; ++f) {  // all of them: the loads would be narrower else
                sum += rows[k][f];
            }
        }
        if (sum != sum) {  // the table holds no NaN
            *a.sink = sum;
        }
    });
}

template <int kWords>
static void read(const CeilingRowsArgs& a, cudaStream_t stream) {
    switch (a.together) {
        case 1:
            return read<kWords, 1>(a, stream);
        case 2:
            return read<kWords, 2>(a, stream);
        case 4:
            return read<kWords, 4>(a, stream);
        default:
            return read<kWords, 8>(a, stream);
    }
}

template <int kWords>
static void change(const CeilingRowsArgs& args, cudaStream_t stream) {
    const CeilingRowsArgs a = args;
    parallel_for_cuda("ceiling_rows", a.visits, stream, [a] __device__(int64_t i) {
        float* row = a.table + visited(a, i) * kWords;
        if (a.kind == kCeilingAdd) {
            const float none[kWords] = {};
            row_add<kWords>(row, none);
        } else if (a.kind == kCeilingAddHalf) {
            constexpr int kHalves = kWords < 4 ? 2 * kWords : 8;
            const float none[kHalves] = {};
            XS_UNROLL
            for (int f = 0; f < 2 * kWords; f += kHalves) {
                row_add<kHalves>(reinterpret_cast<Half*>(row) + f, none);
            }
        } else {
            XS_UNROLL
            for (int f = 0; f < kWords; ++f) {
                const float one[1] = {};
                row_add<1>(row + f, one);
            }
        }
    });
}

static void least(const CeilingRowsArgs& args, cudaStream_t stream) {
    const CeilingRowsArgs a = args;
    parallel_for_cuda("ceiling_rows", a.visits, stream, [a] __device__(int64_t i) {
        auto* word = reinterpret_cast<unsigned long long*>(a.table) + visited(a, i);
        const auto mine = static_cast<unsigned long long>(i);
        if (a.kind == kCeilingLeast || mine < *static_cast<volatile unsigned long long*>(word)) {
            atomicMin(word, mine);
        }
    });
}

template <int kWords>
static void visit(const CeilingRowsArgs& a, cudaStream_t stream) {
    if (a.kind == kCeilingRead) {
        read<kWords>(a, stream);
    } else {
        change<kWords>(a, stream);
    }
}

void ceiling_rows_cuda(const CeilingRowsArgs& a, void* stream_address) {
    const auto stream = static_cast<cudaStream_t>(stream_address);
    if (a.kind == kCeilingLeast || a.kind == kCeilingLeastTested) {
        return least(a, stream);
    }
    switch (a.words) {
        case 1:
            return visit<1>(a, stream);
        case 2:
            return visit<2>(a, stream);
        case 4:
            return visit<4>(a, stream);
        default:
            return visit<8>(a, stream);
    }
}

}  // namespace xs
