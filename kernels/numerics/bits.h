// Exact helpers on IEEE binary32 and binary64, usable in constant expressions,
// on the CPU and in CUDA kernels.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/numerics/host_device.h"

namespace wush::numerics {

template <class P>
struct Ieee;

template <>
struct Ieee<float> {
  using Bits = std::uint32_t;
  static constexpr int kMantissa = 23;
  static constexpr int kBias = 127;
};

template <>
struct Ieee<double> {
  using Bits = std::uint64_t;
  static constexpr int kMantissa = 52;
  static constexpr int kBias = 1023;
};

template <class P>
WUSH_HOST_DEVICE constexpr typename Ieee<P>::Bits to_bits(P x) {
  return std::bit_cast<typename Ieee<P>::Bits>(x);
}

template <class P>
WUSH_HOST_DEVICE constexpr P magnitude(P x) {
  using Bits = typename Ieee<P>::Bits;
  return std::bit_cast<P>(
      static_cast<Bits>(to_bits(x) & ~(Bits{1} << (sizeof(P) * 8 - 1))));
}

template <class P>
WUSH_HOST_DEVICE constexpr bool sign_bit(P x) {
  return (to_bits(x) >> (sizeof(P) * 8 - 1)) != 0;
}

template <class P>
WUSH_HOST_DEVICE constexpr bool is_finite(P x) {
  using Bits = typename Ieee<P>::Bits;
  constexpr Bits kExponent =
      ((Bits{1} << (sizeof(P) * 8 - 1 - Ieee<P>::kMantissa)) - 1)
      << Ieee<P>::kMantissa;
  return (to_bits(x) & kExponent) != kExponent;
}

// 2^exponent, exact for every power that P can hold, subnormal ones included.
template <class P>
WUSH_HOST_DEVICE constexpr P power_of_two(int exponent) {
  using I = Ieee<P>;
  using Bits = typename I::Bits;
  if (exponent > -I::kBias) {
    return std::bit_cast<P>(static_cast<Bits>(exponent + I::kBias)
                            << I::kMantissa);
  }
  return std::bit_cast<P>(Bits{1} << (exponent + I::kBias + I::kMantissa - 1));
}

// floor(log2(x)) of a positive finite x, subnormal or not.
template <class P>
WUSH_HOST_DEVICE constexpr int floor_log2(P x) {
  using I = Ieee<P>;
  const auto bits = to_bits(x);
  const int field = static_cast<int>(bits >> I::kMantissa);
  if (field != 0) return field - I::kBias;
  int exponent = -I::kBias - I::kMantissa;  // of the value of bit 0, less one
  for (auto rest = bits; rest != 0; rest >>= 1) ++exponent;
  return exponent;
}

// Nearest integer, ties to even, of 0 <= x < 2^(mantissa - 1).
template <class P>
WUSH_HOST_DEVICE constexpr P round_half_even(P x) {
  constexpr P kMagic = power_of_two<P>(Ieee<P>::kMantissa);
  return (x + kMagic) - kMagic;
}

}  // namespace wush::numerics
