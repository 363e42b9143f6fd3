// The vector unit of the instruction set that this file is compiled for.
//
// Vector<float> and Vector<double> hold static functions on two types, Float
// and the integer vector Int of the same lanes:
//   load, store, broadcast; add, sub, mul, div, min, max, floor;
//   multiply_add(a, b, c) = a * b + c, fused where the hardware has it;
//   as_int, as_float (the bits); int_broadcast, int_and, int_or, int_xor,
//   int_add, int_sub, int_max (signed), shift_left<n>, shift_right<n>
//   (logical); halving_sum: x[i] + x[i + n/2] until one is left; max_bits:
//   signed maximum; store_nibbles / load_nibbles: one code (0..15) a lane to
//   kLanes / 2 bytes, even lane low, and back; lookup16: element code[i] of a
//   table of 16.
// min(a, b) is a < b ? a : b, and max(a, b) is a > b ? a : b: the second
// operand wins when one is NaN. Vector<float> also has exchange<s> (lane i gets
// lane i ^ s), widen (to two vectors of double, lower lanes first),
// load_bfloat16 and load_float16.
#pragma once

#include "kernels/numerics/bits.h"

#if !defined(WUSH_ISA)
#error "compiled once for each instruction set, see kernels/cpu/CMakeLists.txt"
#endif

namespace wush::kernels::WUSH_ISA {
template <class P>
struct Vector;
}

#if defined(WUSH_ISA_AVX512)
#include "kernels/cpu/simd/vector_avx512.h"
#elif defined(WUSH_ISA_AVX2)
#include "kernels/cpu/simd/vector_avx2.h"
#else
#include "kernels/cpu/simd/vector_portable.h"
#endif
