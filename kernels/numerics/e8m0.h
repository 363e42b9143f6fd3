// e8m0: 2^(b - 127) for b = 0 .. 254; 255 is NaN; no zero, no sign.
#pragma once

#include <cstdint>

#include "kernels/numerics/bits.h"

namespace wush::numerics {

inline constexpr int kE8m0Bias = 127;
inline constexpr int kE8m0MaxByte = 254;

WUSH_HOST_DEVICE constexpr int e8m0_exponent(std::uint8_t byte) {
  return static_cast<int>(byte) - kE8m0Bias;
}

// 2^exponent, clamped to what the type holds.
WUSH_HOST_DEVICE constexpr std::uint8_t e8m0_from_exponent(int exponent) {
  const int byte = exponent + kE8m0Bias;
  return static_cast<std::uint8_t>(
      byte < 0 ? 0 : (byte > kE8m0MaxByte ? kE8m0MaxByte : byte));
}

// With s = m 2^e, 1 <= m < 2: exponent e when m < 1.5, e + 1 when m >= 1.5;
// clamped. s must be finite and not negative; zero gives byte 0.
template <class P>
WUSH_HOST_DEVICE constexpr std::uint8_t e8m0_round(P s) {
  // Below the normal range of float32 (also for double) only 2^-127 is left.
  if (s < power_of_two<P>(-126)) return s >= P(0x1.8p-127) ? 1 : 0;
  // Half of the leading one carries into the exponent from 1.5 on.
  using I = Ieee<P>;
  using Bits = typename I::Bits;
  const Bits rounded = to_bits(s) + (Bits{1} << (I::kMantissa - 1));
  return e8m0_from_exponent(static_cast<int>(rounded >> I::kMantissa) -
                            I::kBias);
}

}  // namespace wush::numerics
