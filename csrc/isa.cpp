// The choice of instruction set: by processor, or lower by XSCALE_ISA.
#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace xs {

static Isa detect_isa() {
    Isa best = Isa::base;
#if XSCALE_HAS_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        best = Isa::avx2;
    }
    if (best == Isa::avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")) {
        best = Isa::avx512;
    }
#if XSCALE_HAS_BF16
    if (best == Isa::avx512 && __builtin_cpu_supports("avx512bf16")) {
        best = Isa::avx512bf16;
    }
#endif
#endif
    const char* wanted = std::getenv("XSCALE_ISA");
    for (Isa isa : {Isa::base, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
        if (wanted != nullptr && std::strcmp(wanted, isa_name(isa)) == 0 && isa < best) {
            best = isa;
        }
    }
    return best;
}

Isa active_isa() {
    static const Isa isa = detect_isa();
    return isa;
}

const char* isa_name(Isa isa) {
    switch (isa) {
        case Isa::avx512bf16:
            return "avx512bf16";
        case Isa::avx512:
            return "avx512";
        case Isa::avx2:
            return "avx2";
        default:
            return "base";
    }
}

}  // namespace xs
