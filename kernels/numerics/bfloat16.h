// bfloat16 and IEEE binary16, as storage.
#pragma once

#include <cstdint>

#include "kernels/numerics/bits.h"

namespace wush::numerics {

// Widening is exact.
WUSH_HOST_DEVICE constexpr float bfloat16_decode(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Round to nearest, ties to even; beyond the largest finite value to infinity;
// NaN stays NaN. One rounding only, from float or from double.
WUSH_HOST_DEVICE constexpr std::uint16_t bfloat16_encode(float x) {
  const std::uint32_t bits = to_bits(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  }
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >>
                                    16);
}

WUSH_HOST_DEVICE constexpr std::uint16_t bfloat16_encode(double x) {
  // double -> float rounding to odd keeps enough for the second rounding to be
  // the only one that counts (24 >= 2 * 8 + 2 significand bits are not needed,
  // one sticky bit is).
  const float nearest = static_cast<float>(x);
  if (!is_finite(nearest) || static_cast<double>(nearest) == x) {
    if (is_finite(x) && !is_finite(nearest)) {
      // Overflows float, so it overflows bfloat16.
      return sign_bit(x) ? std::uint16_t{0xff80} : std::uint16_t{0x7f80};
    }
    return bfloat16_encode(nearest);
  }
  std::uint32_t bits = to_bits(nearest);
  const bool beyond = magnitude(static_cast<double>(nearest)) > magnitude(x);
  if (beyond) --bits;  // truncate toward zero
  return bfloat16_encode(std::bit_cast<float>(bits | 1u));
}

WUSH_HOST_DEVICE constexpr float float16_decode(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1fu) {
    return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  }
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) |
                                (mantissa << 13));
  }
  const float value = static_cast<float>(mantissa) * power_of_two<float>(-24);
  return sign != 0 ? -value : value;
}

}  // namespace wush::numerics
