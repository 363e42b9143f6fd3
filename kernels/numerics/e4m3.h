// e4m3 (the "fn" kind): bias 7, largest value 448, 0x7F and 0xFF are NaN, no
// infinity.
#pragma once

#include <cstdint>

#include "kernels/numerics/bits.h"

namespace wush::numerics {

inline constexpr int kE4m3Max = 448;
inline constexpr std::uint8_t kE4m3MaxCode = 0x7e;

namespace detail {
// What e4m3's exponent field lacks to that of P, and how far its mantissa lies
// below that of P.
template <class P>
inline constexpr int kE4m3Rebias = Ieee<P>::kBias - 7;
template <class P>
inline constexpr int kE4m3Shift = Ieee<P>::kMantissa - 3;
}  // namespace detail

template <class P>
WUSH_HOST_DEVICE constexpr P e4m3_decode(std::uint8_t code) {
  using Bits = typename Ieee<P>::Bits;
  const int positive = code & 0x7f;
  if (positive > kE4m3MaxCode) {
    return static_cast<P>(std::bit_cast<float>(0x7fc00000u));
  }
  const P value =
      positive < 8  // subnormal
          ? static_cast<P>(positive) * power_of_two<P>(-9)
          : std::bit_cast<P>(
                static_cast<Bits>(positive + (detail::kE4m3Rebias<P> << 3))
                << detail::kE4m3Shift<P>);
  return (code & 0x80) != 0 ? -value : value;
}

// Nearest, ties to even, saturating at +-448 (infinity too); NaN gives NaN.
template <class P>
WUSH_HOST_DEVICE constexpr std::uint8_t e4m3_encode(P x) {
  using Bits = typename Ieee<P>::Bits;
  constexpr int kShift = detail::kE4m3Shift<P>;
  const int sign = sign_bit(x) ? 0x80 : 0;
  const P a = magnitude(x);
  int code = 0;
  if (a != a) {
    code = 0x7f;
  } else if (a >= P(kE4m3Max)) {
    code = kE4m3MaxCode;
  } else if (a < power_of_two<P>(-6)) {
    // 8 steps of 2^-9 are the code of the first normal value.
    code = static_cast<int>(round_half_even(a * power_of_two<P>(9)));
  } else {
    // Half a step less one bit, and one more bit if the step below is odd,
    // makes truncation round to nearest even; a carry goes into the exponent.
    const Bits bits = to_bits(a);
    const Bits odd = (bits >> kShift) & 1;
    const Bits rounded =
        (bits + ((Bits{1} << (kShift - 1)) - 1) + odd) >> kShift;
    code = static_cast<int>(rounded) - (detail::kE4m3Rebias<P> << 3);
  }
  return static_cast<std::uint8_t>(sign | code);
}

}  // namespace wush::numerics
