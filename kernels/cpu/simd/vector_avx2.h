// AVX2 with FMA and F16C. See vector.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/numerics/bits.h"

namespace wush::kernels::WUSH_ISA {

// What both element types share: the integer vector is one type.
struct Avx2Bits {
  using Int = __m256i;
  static Int int_and(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int int_or(Int a, Int b) { return _mm256_or_si256(a, b); }
  static Int int_xor(Int a, Int b) { return _mm256_xor_si256(a, b); }
};

template <>
struct Vector<double> : Avx2Bits {
  using Scalar = double;
  using Bits = std::uint64_t;
  using Float = __m256d;
  static constexpr int kLanes = 4;

  static Float load(const double* p) { return _mm256_loadu_pd(p); }
  static void store(double* p, Float v) { _mm256_storeu_pd(p, v); }
  static Float broadcast(double x) { return _mm256_set1_pd(x); }
  static Float add(Float a, Float b) { return _mm256_add_pd(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_pd(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_pd(a, b); }
  static Float div(Float a, Float b) { return _mm256_div_pd(a, b); }
  static Float multiply_add(Float a, Float b, Float c) {
    return _mm256_fmadd_pd(a, b, c);
  }
  static Float min(Float a, Float b) { return _mm256_min_pd(a, b); }
  static Float max(Float a, Float b) { return _mm256_max_pd(a, b); }
  static Float floor(Float v) { return _mm256_floor_pd(v); }

  static Int as_int(Float v) { return _mm256_castpd_si256(v); }
  static Float as_float(Int v) { return _mm256_castsi256_pd(v); }
  static Int int_broadcast(Bits x) {
    return _mm256_set1_epi64x(static_cast<long long>(x));
  }
  static Int int_add(Int a, Int b) { return _mm256_add_epi64(a, b); }
  static Int int_sub(Int a, Int b) { return _mm256_sub_epi64(a, b); }
  static Int int_max(Int a, Int b) {
    return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b));
  }
  template <int n>
  static Int shift_left(Int a) {
    return _mm256_slli_epi64(a, n);
  }
  template <int n>
  static Int shift_right(Int a) {
    return _mm256_srli_epi64(a, n);
  }

  static double halving_sum(Float v) {
    const __m128d s2 =
        _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
  }
  static Bits max_bits(Int v) {
    const Int two = int_max(v, _mm256_permute4x64_epi64(v, 0x4e));
    const Int one = int_max(two, _mm256_permute4x64_epi64(two, 0xb1));
    return static_cast<Bits>(_mm256_extract_epi64(one, 0));
  }

  static void store_nibbles(std::uint8_t* out, Int codes) {
    // 128-bit lanes hold two codes: the upper moves from bit 64 to bit 4.
    const Int pairs = _mm256_or_si256(
        codes, _mm256_slli_epi64(_mm256_unpackhi_epi64(codes, codes), 4));
    out[0] = static_cast<std::uint8_t>(_mm256_extract_epi8(pairs, 0));
    out[1] = static_cast<std::uint8_t>(_mm256_extract_epi8(pairs, 16));
  }
  static Int load_nibbles(const std::uint8_t* packed) {
    return _mm256_setr_epi64x(packed[0] & 15, packed[0] >> 4, packed[1] & 15,
                              packed[1] >> 4);
  }
  static Float lookup16(const double* table, Int codes) {
    return _mm256_i64gather_pd(table, codes, 8);
  }
};

template <>
struct Vector<float> : Avx2Bits {
  using Scalar = float;
  using Bits = std::uint32_t;
  using Float = __m256;
  static constexpr int kLanes = 8;

  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
  static Float broadcast(float x) { return _mm256_set1_ps(x); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm256_div_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
  static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
  static Float floor(Float v) { return _mm256_floor_ps(v); }

  static Int as_int(Float v) { return _mm256_castps_si256(v); }
  static Float as_float(Int v) { return _mm256_castsi256_ps(v); }
  static Int int_broadcast(Bits x) {
    return _mm256_set1_epi32(static_cast<int>(x));
  }
  static Int int_add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int int_sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  static Int int_max(Int a, Int b) { return _mm256_max_epi32(a, b); }
  template <int n>
  static Int shift_left(Int a) {
    return _mm256_slli_epi32(a, n);
  }
  template <int n>
  static Int shift_right(Int a) {
    return _mm256_srli_epi32(a, n);
  }

  static float halving_sum(Float v) {
    const __m128 s4 =
        _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
  }
  static Bits max_bits(Int v) {
    const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(v),
                                       _mm256_extracti128_si256(v, 1));
    const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    const __m128i one = _mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1));
    return static_cast<Bits>(_mm_cvtsi128_si32(one));
  }

  // Lane pairs as 64-bit lanes: the code of the odd lane moves down to bit 4;
  // then the low bytes of the four are brought together.
  static void store_nibbles(std::uint8_t* out, Int codes) {
    const Int pairs = _mm256_or_si256(codes, _mm256_srli_epi64(codes, 28));
    const __m128i bytes_0_and_8 = _mm_cvtsi32_si128(0x0800);
    const __m128i even =
        _mm_shuffle_epi8(_mm256_castsi256_si128(pairs), bytes_0_and_8);
    const __m128i odd =
        _mm_shuffle_epi8(_mm256_extracti128_si256(pairs, 1), bytes_0_and_8);
    const __m128i packed = _mm_unpacklo_epi16(even, odd);
    const int bytes = _mm_cvtsi128_si32(packed);
    std::memcpy(out, &bytes, sizeof(bytes));
  }
  static Int load_nibbles(const std::uint8_t* packed) {
    int bytes;
    std::memcpy(&bytes, packed, sizeof(bytes));
    const Int pairs = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(bytes));
    return _mm256_and_si256(
        _mm256_or_si256(pairs, _mm256_slli_epi64(pairs, 28)),
        _mm256_set1_epi32(15));
  }
  // permutevar reads the low three bits; bit 3, moved to the sign, selects.
  static Float lookup16(const float* table, Int codes) {
    const Float low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), codes);
    const Float high =
        _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), codes);
    return _mm256_blendv_ps(low, high,
                            _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28)));
  }

  template <int s>
  static Float exchange(Float v) {
    static_assert(s == 1 || s == 2 || s == 4);
    if constexpr (s == 1) return _mm256_permute_ps(v, 0xb1);
    if constexpr (s == 2) return _mm256_permute_ps(v, 0x4e);
    if constexpr (s == 4) return _mm256_permute2f128_ps(v, v, 0x01);
  }
  static void widen(Float v, Vector<double>::Float* out) {
    out[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
    out[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
  }
  static Float load_bfloat16(const std::uint16_t* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_cvtepu16_epi32(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
        16));
  }
  static Float load_float16(const std::uint16_t* p) {
    return _mm256_cvtph_ps(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace wush::kernels::WUSH_ISA
