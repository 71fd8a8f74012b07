// Which instruction set the CPU bodies use: chosen once, from the processor and XSCALE_ISA.
//
// A SIMD source NAME_simd.cpp is compiled once per instruction set with XS_ISA defined to the
// set's name and puts its functions into namespace xs::XS_ISA; the launcher calls XS_PICK(f).
#pragma once

namespace xs {

// avx512bf16 is avx512 with products of bfloat16 pairs (vdpbf16ps), for the few sources that have
// a body of that name; everything else runs its avx512 body.
enum class Isa { base = 0, avx2 = 1, avx512 = 2, avx512bf16 = 3 };

// The best set that this processor and operating system run, or the lower one that the
// environment variable XSCALE_ISA (base, avx2, avx512, avx512bf16) asks for.
Isa active_isa();
const char* isa_name(Isa isa);

}  // namespace xs

// Declares `signature` in every instruction set's namespace, for XS_PICK.
#if XSCALE_HAS_X86
#define XS_DECLARE_SIMD(signature) \
    namespace base {               \
    signature;                     \
    }                              \
    namespace avx2 {               \
    signature;                     \
    }                              \
    namespace avx512 {             \
    signature;                     \
    }
#define XS_PICK(function)                                             \
    (::xs::active_isa() >= ::xs::Isa::avx512 ? ::xs::avx512::function \
     : ::xs::active_isa() == ::xs::Isa::avx2 ? ::xs::avx2::function   \
                                             : ::xs::base::function)
#else
#define XS_DECLARE_SIMD(signature) \
    namespace base {               \
    signature;                     \
    }
#define XS_PICK(function) (::xs::base::function)
#endif
