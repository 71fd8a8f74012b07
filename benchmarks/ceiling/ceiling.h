// Ceilings: kernels that move the same bytes or do the same arithmetic as an op and nothing else.
// They are not ops: the benchmarks time them beside the ops, in the same build.
#pragma once

#include "encode/encode.h"

namespace xs {

struct CeilingArgs {
    float* data;  // [floats], read; written too by ceiling_stream
    int64_t floats;
    int64_t products;  // multiply-adds for ceiling_multiply
    bool bfloat16;     // whether products of bfloat16 pairs count, where there are such
    double* sink;      // [1] out: what nobody reads, so that nothing is left out

    XS_FIELDS(data, floats, products, bfloat16, sink)
};

enum CeilingKind : int32_t {
    kCeilingRead,
    kCeilingAdd,         // floats, in the widest atomics that the device has
    kCeilingAddScalar,   // floats, one by one
    kCeilingAddHalf,     // pairs of half floats, a word each, in the widest atomics
    kCeilingLeast,       // 64-bit minimum; two words a row
    kCeilingLeastTested  // the same behind a plain read, as rasterize has it
};

// Rows of a table at random, on a device.
struct CeilingRowsArgs {
    float* table;  // [rows, words]
    int64_t rows;
    int32_t words;       // of 4 bytes, a row: 1, 2, 4 or 8
    int64_t visits;      // a multiple of 8
    int32_t kind;        // a CeilingKind
    int32_t together;    // rows that a thread has under way at once: 1, 2, 4 or 8; reads only
    int32_t collisions;  // neighbouring threads that visit the same row
    bool in_order;       // rows one after the other, not at random
    float* sink;         // [1] written never, so that nothing is left out

    XS_FIELDS(table, rows, words, visits, kind, together, collisions, in_order, sink)
};

// Reads every row that `encode` reads, with the same indices and the same fetching ahead; sums
// nothing and writes nothing. Uses position, table or table_half and the grid of EncodeArgs.
void ceiling_gather_cpu(const EncodeArgs& args);
// Reads and writes every float once.
void ceiling_stream_cpu(const CeilingArgs& args);
// That many multiply-adds on registers, in the widest form of the active instruction set.
void ceiling_multiply_cpu(const CeilingArgs& args);

void ceiling_rows_cuda(const CeilingRowsArgs& args, void* stream);

XS_DECLARE_SIMD(uint64_t encode_touch_chunk(const EncodeArgs& args, const EncodeGrid& grid,
                                            int64_t begin, int64_t end))
XS_DECLARE_SIMD(double multiply_registers(int64_t products))
#if XSCALE_HAS_X86
namespace avx512bf16 {
double multiply_registers(int64_t products);
}
#endif

}  // namespace xs
