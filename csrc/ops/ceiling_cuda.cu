#include "ops/ceiling.h"
#include "parallel_cuda.cuh"
#include "rows.h"

namespace xs {

// Eight rows a thread, none of which needs another.
template <int kWords>
static void visit(const CeilingRowsArgs& args, cudaStream_t stream) {
    constexpr int kTogether = 8;
    const CeilingRowsArgs a = args;
    parallel_for_cuda("ceiling_rows", a.visits / kTogether, stream, [a] __device__(int64_t i) {
        float sum = 0.0f;
        float rows[kTogether][kWords];
        XS_UNROLL
        for (int k = 0; k < kTogether; ++k) {
            uint32_t hash = static_cast<uint32_t>(i * kTogether + k) * 2654435761u;
            hash = (hash ^ hash >> 15) * 2246822519u;
            hash ^= hash >> 13;
            float* row =
                a.table + static_cast<int64_t>(
                              static_cast<uint64_t>(hash) * static_cast<uint64_t>(a.rows) >> 32) *
                              kWords;
            if (a.add) {
                const float ones[kWords] = {};
                row_add<kWords>(row, ones);
            } else {
                row_load<kWords>(row, rows[k]);
            }
        }
        if (!a.add) {
            XS_UNROLL
            for (int k = 0; k < kTogether; ++k) {
                sum += rows[k][0] + rows[k][kWords - 1];
            }
        }
        if (sum != sum) {  // the table holds no NaN
            *a.sink = sum;
        }
    });
}

void ceiling_rows_cuda(const CeilingRowsArgs& a, void* stream_address) {
    const auto stream = static_cast<cudaStream_t>(stream_address);
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
