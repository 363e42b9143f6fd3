// AVX-512 F, BW, DQ, VL with FMA. See vector.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/numerics/bits.h"

namespace wush::kernels::WUSH_ISA {

template <>
struct Vector<double> {
  using Scalar = double;
  using Bits = std::uint64_t;
  using Float = __m512d;
  using Int = __m512i;
  static constexpr int kLanes = 8;

  static Float load(const double* p) { return _mm512_loadu_pd(p); }
  static void store(double* p, Float v) { _mm512_storeu_pd(p, v); }
  static Float broadcast(double x) { return _mm512_set1_pd(x); }
  static Float add(Float a, Float b) { return _mm512_add_pd(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_pd(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_pd(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_pd(a, b); }
  static Float multiply_add(Float a, Float b, Float c) {
    return _mm512_fmadd_pd(a, b, c);
  }
  static Float min(Float a, Float b) { return _mm512_min_pd(a, b); }
  static Float max(Float a, Float b) { return _mm512_max_pd(a, b); }
  static Float floor(Float v) {
    return _mm512_roundscale_pd(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }

  static Int as_int(Float v) { return _mm512_castpd_si512(v); }
  static Float as_float(Int v) { return _mm512_castsi512_pd(v); }
  static Int int_broadcast(Bits x) {
    return _mm512_set1_epi64(static_cast<long long>(x));
  }
  static Int int_and(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int int_or(Int a, Int b) { return _mm512_or_si512(a, b); }
  static Int int_xor(Int a, Int b) { return _mm512_xor_si512(a, b); }
  static Int int_add(Int a, Int b) { return _mm512_add_epi64(a, b); }
  static Int int_sub(Int a, Int b) { return _mm512_sub_epi64(a, b); }
  static Int int_max(Int a, Int b) { return _mm512_max_epi64(a, b); }
  template <int n>
  static Int shift_left(Int a) {
    return _mm512_slli_epi64(a, n);
  }
  template <int n>
  static Int shift_right(Int a) {
    return _mm512_srli_epi64(a, n);
  }

  static double halving_sum(Float v) {
    const __m256d s4 =
        _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    const __m128d s2 =
        _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
  }
  static Bits max_bits(Int v) {
    return static_cast<Bits>(_mm512_reduce_max_epi64(v));
  }

  static void store_nibbles(std::uint8_t* out, Int codes) {
    const __m128i bytes = _mm512_cvtepi64_epi8(codes);
    const __m128i pairs = _mm_or_si128(bytes, _mm_srli_epi16(bytes, 4));
    const __m128i packed =
        _mm_packus_epi16(_mm_and_si128(pairs, _mm_set1_epi16(0xff)), pairs);
    _mm_storeu_si32(out, packed);
  }
  static Int load_nibbles(const std::uint8_t* packed) {
    const __m128i bytes = _mm_cvtepu8_epi16(_mm_loadu_si32(packed));
    const __m128i codes = _mm_and_si128(
        _mm_or_si128(bytes, _mm_slli_epi16(bytes, 4)), _mm_set1_epi8(15));
    return _mm512_cvtepu8_epi64(codes);
  }
  static Float lookup16(const double* table, Int codes) {
    return _mm512_permutex2var_pd(_mm512_loadu_pd(table), codes,
                                  _mm512_loadu_pd(table + 8));
  }
};

template <>
struct Vector<float> {
  using Scalar = float;
  using Bits = std::uint32_t;
  using Float = __m512;
  using Int = __m512i;
  static constexpr int kLanes = 16;

  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Float v) { _mm512_storeu_ps(p, v); }
  static Float broadcast(float x) { return _mm512_set1_ps(x); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float floor(Float v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }

  static Int as_int(Float v) { return _mm512_castps_si512(v); }
  static Float as_float(Int v) { return _mm512_castsi512_ps(v); }
  static Int int_broadcast(Bits x) {
    return _mm512_set1_epi32(static_cast<int>(x));
  }
  static Int int_and(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int int_or(Int a, Int b) { return _mm512_or_si512(a, b); }
  static Int int_xor(Int a, Int b) { return _mm512_xor_si512(a, b); }
  static Int int_add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int int_sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  static Int int_max(Int a, Int b) { return _mm512_max_epi32(a, b); }
  template <int n>
  static Int shift_left(Int a) {
    return _mm512_slli_epi32(a, n);
  }
  template <int n>
  static Int shift_right(Int a) {
    return _mm512_srli_epi32(a, n);
  }

  static float halving_sum(Float v) {
    const __m256 s8 =
        _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 s4 =
        _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
  }
  static Bits max_bits(Int v) {
    return static_cast<Bits>(_mm512_reduce_max_epi32(v));
  }

  // Lane pairs as 64-bit lanes: the code of the odd lane moves down to bit 4.
  static void store_nibbles(std::uint8_t* out, Int codes) {
    const __m512i pairs = _mm512_or_si512(codes, _mm512_srli_epi64(codes, 28));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out),
                     _mm512_cvtepi64_epi8(pairs));
  }
  static Int load_nibbles(const std::uint8_t* packed) {
    const __m512i pairs = _mm512_cvtepu8_epi64(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(packed)));
    return _mm512_and_si512(
        _mm512_or_si512(pairs, _mm512_slli_epi64(pairs, 28)),
        _mm512_set1_epi32(15));
  }
  static Float lookup16(const float* table, Int codes) {
    return _mm512_permutexvar_ps(codes, _mm512_loadu_ps(table));
  }

  template <int s>
  static Float exchange(Float v) {
    static_assert(s == 1 || s == 2 || s == 4 || s == 8);
    if constexpr (s == 1) return _mm512_permute_ps(v, 0xb1);
    if constexpr (s == 2) return _mm512_permute_ps(v, 0x4e);
    if constexpr (s == 4) return _mm512_shuffle_f32x4(v, v, 0xb1);
    if constexpr (s == 8) return _mm512_shuffle_f32x4(v, v, 0x4e);
  }
  static void widen(Float v, Vector<double>::Float* out) {
    out[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    out[1] = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
  }
  static Float load_bfloat16(const std::uint16_t* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))),
        16));
  }
  static Float load_float16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
};

}  // namespace wush::kernels::WUSH_ISA
