// 16-byte vectors by the compiler's vector extension: any processor. See
// vector.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/numerics/bfloat16.h"
#include "kernels/numerics/bits.h"

namespace wush::kernels::WUSH_ISA {

template <class P, class SignedBits>
struct PortableVector {
  using Scalar = P;
  using Bits = typename numerics::Ieee<P>::Bits;
  typedef P Float __attribute__((vector_size(16)));
  typedef SignedBits Int __attribute__((vector_size(16)));
  typedef Bits UnsignedInt __attribute__((vector_size(16)));
  static constexpr int kLanes = 16 / sizeof(P);

  static Float load(const P* p) {
    Float v;
    std::memcpy(&v, p, sizeof(v));
    return v;
  }
  static void store(P* p, Float v) { std::memcpy(p, &v, sizeof(v)); }
  static Float broadcast(P x) { return x - Float{}; }
  static Float add(Float a, Float b) { return a + b; }
  static Float sub(Float a, Float b) { return a - b; }
  static Float mul(Float a, Float b) { return a * b; }
  static Float div(Float a, Float b) { return a / b; }
  static Float multiply_add(Float a, Float b, Float c) { return a * b + c; }
  static Float min(Float a, Float b) { return a < b ? a : b; }
  static Float max(Float a, Float b) { return a > b ? a : b; }
  // For |v| < 2^(mantissa - 1).
  static Float floor(Float v) {
    const Float magic = broadcast(
        P(1.5) * numerics::power_of_two<P>(numerics::Ieee<P>::kMantissa));
    const Float nearest = (v + magic) - magic;
    return nearest > v ? nearest - P(1) : nearest;
  }

  static Int as_int(Float v) { return (Int)v; }
  static Float as_float(Int v) { return (Float)v; }
  static Int int_broadcast(Bits x) {
    return static_cast<SignedBits>(x) + Int{};
  }
  static Int int_and(Int a, Int b) { return a & b; }
  static Int int_or(Int a, Int b) { return a | b; }
  static Int int_xor(Int a, Int b) { return a ^ b; }
  // Unsigned: these wrap around.
  static Int int_add(Int a, Int b) {
    return (Int)((UnsignedInt)a + (UnsignedInt)b);
  }
  static Int int_sub(Int a, Int b) {
    return (Int)((UnsignedInt)a - (UnsignedInt)b);
  }
  static Int int_max(Int a, Int b) { return a > b ? a : b; }
  template <int n>
  static Int shift_left(Int a) {
    return (Int)((UnsignedInt)a << n);
  }
  template <int n>
  static Int shift_right(Int a) {
    return (Int)((UnsignedInt)a >> n);
  }

  static P halving_sum(Float v) {
    if constexpr (kLanes == 4) {
      return (v[0] + v[2]) + (v[1] + v[3]);
    } else {
      return v[0] + v[1];
    }
  }
  static Bits max_bits(Int v) {
    SignedBits largest = v[0];
    for (int i = 1; i < kLanes; ++i) largest = v[i] > largest ? v[i] : largest;
    return static_cast<Bits>(largest);
  }

  static void store_nibbles(std::uint8_t* out, Int codes) {
    for (int i = 0; i < kLanes; i += 2) {
      out[i / 2] = static_cast<std::uint8_t>(codes[i] | codes[i + 1] << 4);
    }
  }
  static Int load_nibbles(const std::uint8_t* packed) {
    Int codes{};
    for (int i = 0; i < kLanes; ++i) {
      codes[i] = packed[i / 2] >> (i % 2 * 4) & 15;
    }
    return codes;
  }
  static Float lookup16(const P* table, Int codes) {
    Float v{};
    for (int i = 0; i < kLanes; ++i) v[i] = table[codes[i]];
    return v;
  }
};

template <>
struct Vector<double> : PortableVector<double, std::int64_t> {};

template <>
struct Vector<float> : PortableVector<float, std::int32_t> {
  template <int s>
  static Float exchange(Float v) {
    static_assert(s == 1 || s == 2);
    return Float{v[s], v[1 ^ s], v[2 ^ s], v[3 ^ s]};
  }
  static void widen(Float v, Vector<double>::Float* out) {
    out[0] = Vector<double>::Float{v[0], v[1]};
    out[1] = Vector<double>::Float{v[2], v[3]};
  }
  static Float load_bfloat16(const std::uint16_t* p) {
    return Float{
        numerics::bfloat16_decode(p[0]), numerics::bfloat16_decode(p[1]),
        numerics::bfloat16_decode(p[2]), numerics::bfloat16_decode(p[3])};
  }
  static Float load_float16(const std::uint16_t* p) {
    return Float{numerics::float16_decode(p[0]), numerics::float16_decode(p[1]),
                 numerics::float16_decode(p[2]),
                 numerics::float16_decode(p[3])};
  }
};

}  // namespace wush::kernels::WUSH_ISA
