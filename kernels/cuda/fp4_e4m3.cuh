// Packed words of e2m1 by way of e4m3, whose numbers its codes are (sm_89).
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace wush::kernels::cuda {

// The codes of a word at even and at odd places as e4m3, 2^-6 times as large.
__device__ inline void expand_e4m3(unsigned w, unsigned& even, unsigned& odd) {
  constexpr unsigned kSign = 0x80808080u, kMagnitude = 0x1c1c1c1cu;
  even = (w << 4 & kSign) | (w << 2 & kMagnitude);
  odd = (w & kSign) | (w >> 2 & kMagnitude);
}

// The lower and the upper two of four e4m3 as float16.
__device__ inline __half2 lower_halves(unsigned e4m3) {
  unsigned bits;
  asm("{\n.reg .b16 lower, upper;\nmov.b32 {lower, upper}, %1;\n"
      "cvt.rn.f16x2.e4m3x2 %0, lower;\n}"
      : "=r"(bits)
      : "r"(e4m3));
  return *reinterpret_cast<const __half2*>(&bits);
}
__device__ inline __half2 upper_halves(unsigned e4m3) {
  unsigned bits;
  asm("{\n.reg .b16 lower, upper;\nmov.b32 {lower, upper}, %1;\n"
      "cvt.rn.f16x2.e4m3x2 %0, upper;\n}"
      : "=r"(bits)
      : "r"(e4m3));
  return *reinterpret_cast<const __half2*>(&bits);
}

// The codes of a word times `multiplier` times 2^-6 as float16, two to a word:
// 0 and 2, 4 and 6, 1 and 3, 5 and 7.
__device__ inline void expand_halves(unsigned w, __half2 multiplier,
                                     unsigned (&out)[4]) {
  unsigned even, odd;
  expand_e4m3(w, even, odd);
  const __half2 pairs[4] = {lower_halves(even), upper_halves(even),
                            lower_halves(odd), upper_halves(odd)};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __half2 product = __hmul2(pairs[i], multiplier);
    out[i] = *reinterpret_cast<const unsigned*>(&product);
  }
}

}  // namespace wush::kernels::cuda
