// exp of a vector of floats.
#pragma once

#include "kernels/cpu/simd/vector.h"

namespace wush::kernels::WUSH_ISA {

// Within 2 units in the last place. x = n log(2) + r with |r| <= log(2) / 2,
// a polynomial of degree 7 in r (coefficients of the Cephes library's expf),
// and 2^n in two factors, so that subnormal results round once and overflow
// gives infinity. log(2) comes in two parts, the first short enough for n times
// it to be exact. NaN passes through the clamps (second operand of min and
// max).
inline Vector<float>::Float vector_exp(Vector<float>::Float x) {
  using V = Vector<float>;
  constexpr float kMagic = 0x1.8p23f;
  const auto clamped =
      V::max(V::broadcast(-104.0f), V::min(V::broadcast(89.0f), x));
  const auto shifted = V::multiply_add(clamped, V::broadcast(0x1.715476p+0f),
                                       V::broadcast(kMagic));
  const auto n = V::sub(shifted, V::broadcast(kMagic));
  auto r = V::multiply_add(n, V::broadcast(-0x1.63p-1f), clamped);
  r = V::multiply_add(n, V::broadcast(2.12194440e-4f), r);

  auto p = V::broadcast(1.9875691500e-4f);
  p = V::multiply_add(p, r, V::broadcast(1.3981999507e-3f));
  p = V::multiply_add(p, r, V::broadcast(8.3334519073e-3f));
  p = V::multiply_add(p, r, V::broadcast(4.1665795894e-2f));
  p = V::multiply_add(p, r, V::broadcast(1.6666665459e-1f));
  p = V::multiply_add(p, r, V::broadcast(5.0000001201e-1f));
  p = V::add(V::multiply_add(p, V::mul(r, r), r), V::broadcast(1.0f));

  // n + 512 in the low bits; its half, less 256, is the first exponent.
  const auto biased = V::int_sub(
      V::as_int(shifted), V::int_broadcast(numerics::to_bits(kMagic) - 512));
  const auto half = V::template shift_right<1>(biased);
  const auto rest = V::int_sub(biased, half);
  const auto power = [](V::Int exponent) {  // exponent is 256 too large
    return V::as_float(V::template shift_left<23>(
        V::int_sub(exponent, V::int_broadcast(256 - 127))));
  };
  return V::mul(V::mul(p, power(half)), power(rest));
}

}  // namespace wush::kernels::WUSH_ISA
