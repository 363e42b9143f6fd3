// e2m1: the 4-bit float with values +-{0, 0.5, 1, 1.5, 2, 3, 4, 6};
// code = sign << 3 | index of the magnitude.
#pragma once

#include <cstdint>

#include "kernels/numerics/bits.h"

namespace wush::numerics {

inline constexpr int kE2m1Max = 6;

// Twice the value, an integer in [-12, 12] (the zero's sign is lost).
WUSH_HOST_DEVICE constexpr int e2m1_doubled(std::uint8_t code) {
  const int index = code & 7;
  const int doubled =
      index < 4 ? index : (index < 6 ? 2 * index - 4 : 4 * index - 16);
  return (code & 8) != 0 ? -doubled : doubled;
}

template <class P>
WUSH_HOST_DEVICE constexpr P e2m1_decode(std::uint8_t code) {
  const P value =
      static_cast<P>(e2m1_doubled(static_cast<std::uint8_t>(code & 7))) *
      P(0.5);
  return (code & 8) != 0 ? -value : value;
}

// Nearest value, ties to the even code, saturating, the sign of zero kept.
// v must not be NaN.
template <class P>
WUSH_HOST_DEVICE constexpr std::uint8_t e2m1_encode(P v) {
  const P a = magnitude(v);
  const int index = (a > P(0.25)) + (a >= P(0.75)) + (a > P(1.25)) +
                    (a >= P(1.75)) + (a > P(2.5)) + (a >= P(3.5)) + (a > P(5));
  return static_cast<std::uint8_t>((sign_bit(v) ? 8 : 0) | index);
}

}  // namespace wush::numerics
