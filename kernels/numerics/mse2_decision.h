// Which of the two scales of rule mse2 has the smaller squared error, from a
// cheap sum with a proven bound instead of the specification's two errors
// (group_quantizer.h). Where the bound does not tell, the caller computes
// those.
//
// Each `advantage` is one lane's part, eight values of a group, of
//   D = (error of the absmax scale - error of the extra candidate) / d^2,
// d the absmax scale's decode multiplier: errors in units of its grid. Parts
// may be added in any order. With e = 2^-24, half an ulp of 1, kBound is at
// least |D as computed here - D of the specification's float32 errors| wherever
// `is_bounded` holds and |D| is not many times larger; relative errors of a few
// hundred e do not change the sign of a larger D. So beyond kBound the sign of
// D decides, also for the strict `<` of the rule. is_bounded keeps d within
// 2^-57 .. 2^57, where squares of errors that count, and the roundings of
// subnormal ones, 2^-149 each, are far from both ends of float32.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/numerics/bits.h"
#include "kernels/numerics/format.h"

namespace wush::numerics {

// a * b + c, rounded once: to nearest, or down.
WUSH_HOST_DEVICE inline float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}
WUSH_HOST_DEVICE inline float fused_down_to_integer(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rd(a, b, c);
#else
  return static_cast<float>(
      std::floor(static_cast<double>(a) * static_cast<double>(b) +
                 static_cast<double>(c)));
#endif
}

// Clamps to [0, 1]; free as part of a GPU's addition or multiplication.
WUSH_HOST_DEVICE inline float saturate(float x) {
#if defined(__CUDA_ARCH__)
  return __saturatef(x);
#else
  return x > 1 ? 1.0f : x > 0 ? x : 0.0f;
#endif
}

// Rounding to e2m1 by adding 2^(22 + E), E the exponent of |v| but at least 0:
// the sum's last bit then is worth one step of e2m1 there, so the adder rounds
// to nearest even. The magnitude's index is the sum's low bits plus 2 E.
struct RoundedE2m1 {
  static constexpr float kMagic = 0x1p22f;
  float power;  // 2^E with the sign of v
  float sum;    // v + power kMagic

  // On the grid {0, .5, 1, 1.5, 2, 3, 4, 6} and its negative, exact.
  WUSH_HOST_DEVICE float value() const { return fused(power, -kMagic, sum); }

  // The code, in the top four bits. The sum's bits are the sign at bit 31, 149
  // + E from bit 23 on and index - 2 E at the bottom. Those from 0, 22 and 28
  // on and the 2 added here make up 304 + index + 8 sign, and nothing below
  // carries into the top.
  WUSH_HOST_DEVICE static std::uint32_t nibble(float sum) {
    return to_bits(sum) * 0x10000041u + 0x20000000u;
  }
};

// Of |v| < 7. The exponent fields of 1 and less are bits of 127, so that a
// disjunction with the larger of |v| and 1 has that one's.
WUSH_HOST_DEVICE inline RoundedE2m1 round_e2m1(float v) {
  const float larger = std::fmax(std::fabs(v), 1.0f);
  const float power =
      std::bit_cast<float>((to_bits(larger) | to_bits(v)) & 0xff800000u);
  return {power, fused(power, RoundedE2m1::kMagic, v)};
}

// mxfp4 and mxfp4-ocp: the candidate is half the scale. With v = |x| / d, the
// two scales round all v in [1, 3.5] to the same value. Below, the finer grid
// gains (q - v)^2 - (q' - v)^2 = max(0, 1/8 - ||v - 1/2| - 1/4|) / 2, at most
// 1/16; above, the coarser one gains 2 v - 7 up to v = 5 and more beyond. That
// is counted only up to v = 4.5: a single larger value, worth 2 or more, wins
// against 31 / 16, all that the others can have.
//
// Bound, for values up to 4.5: here 1/8 - ... is off by 2 e and the other term
// by 11 e, the sum of 64 terms by 18 e (|D| + 4): at most 300 e in all. The
// specification's errors: an error is off by 2 e |q| for d (1/3 is rounded) and
// its product and by e of its own; at most 26 e in the square. A v that is
// rounded across a midpoint changes it by 24 e more. So 32 * 50 e, and 6 e * 32
// of squaring and summing, for each scale: 3600 e. Together 3900 e, less than
// 2^-12. For larger values it grows to 10^4 e, nothing against the 1/16 that
// is left.
struct Mse2PowerOfTwo {
  static constexpr float kBound = 0x1p-11f;

  static WUSH_HOST_DEVICE bool is_bounded(std::uint32_t byte) {
    return byte - 71u <= 183u - 71u;
  }

  // `inverse`: 1 / d. Twice D, so that one instruction is saved.
  static WUSH_HOST_DEVICE float doubled_advantage(const float (&x)[8],
                                                  float inverse) {
    float sum = 0;
    for (int i = 0; i < 8; ++i) {
      const float a = std::fabs(x[i]);
      const float b = std::fabs(fused(a, inverse, -0.5f)) - 0.25f;
      sum = sum + saturate(0.125f - std::fabs(b));
      sum = fused(saturate(fused(a, inverse, -3.5f)), -4.0f, sum);
    }
    return sum;
  }
};

// nvfp4: the candidate's decode multiplier is `ratio` times d, at most 1.75.
//
// Bound: q - v is exact, v = fl(x m) as in the specification; m d = 1 to 3 e
// (the unit, m and d are each rounded), so the specification's error over d
// differs from q - v by e (|q| + 4 v + |q - v|). In the square that is at most
// 68 e for v in [4, 6.75] and 21 e below 4; 16 of them, and 14 e of summing in
// both computations, make 1312 e for the absmax scale and, v being at most 4.4,
// 410 e for the other, 1255 e in units of d. The ratio's rounding adds 135 e
// and the last operation 50 e. Together 2752 e, less than 2^-12 = 4096 e.
struct Mse2E4m3 {
  static constexpr float kBound = 0x1p-12f;

  // Scales that are not saturated and at least 4 subnormal steps, so that the
  // rounding of the scale takes v to 6.75 and 4.4 at most and needs no clamp.
  static WUSH_HOST_DEVICE bool is_bounded(std::uint32_t base,
                                          std::uint32_t extra) {
    return (base >= 4u) & (extra < 0x7eu);
  }
  // Units for which is_bounded is enough: scales are 2^-7 .. 448.
  static WUSH_HOST_DEVICE bool is_bounded_unit(float unit) {
    return unit >= 0x1p-48f && unit <= 0x1p48f;
  }

  // The eight values' roundings are left in sums[0] and, for the extra
  // candidate, in sums[1]: see RoundedE2m1::nibble.
  static WUSH_HOST_DEVICE float advantage(const float (&x)[8], float multiplier,
                                          float extra_multiplier, float ratio,
                                          float (&sums)[2][8]) {
    float error = 0, extra_error = 0;
    for (int i = 0; i < 8; ++i) {
      error = add_error(x[i] * multiplier, error, &sums[0][i]);
      extra_error =
          add_error(x[i] * extra_multiplier, extra_error, &sums[1][i]);
    }
    return fused(-(ratio * ratio), extra_error, error);
  }

 private:
  static WUSH_HOST_DEVICE float add_error(float v, float error, float* sum) {
    const RoundedE2m1 rounded = round_e2m1(v);
    *sum = rounded.sum;
    const float r = rounded.value() - v;
    return fused(r, r, error);
  }
};

// int4: the scale is made of the root mean square, which is summed here in
// whatever order is at hand: see rounds_surely. The candidate's step is `ratio`
// = 0.85 times d, to one rounding to bfloat16. Magnitudes suffice: the elements
// are +-0.5, +-1.5 .. +-7.5, and a value on a boundary is as far from either
// side.
//
// Bound: let u = |x| / d, and U = the sum of u^2, at most 287 for the absmax
// step (1 / 0.3352^2 of each value, and bfloat16's rounding) and 400 for the
// other. The specification's elements times the step are exact, its error is
// off by e of itself; its v is off by 2 e u, so that values beside a boundary
// change a square by 4 e u: sqrt(32 U) 4 e = 384 e (452 e) in all. Here the
// boundary is off by 5 e u, and 10 e u in the square: 960 e (1131 e); u itself
// in the error by 2 e u and e of rounding: 208 e (242 e) up to u = 8. Summing,
// 19 e in both computations, is relative to both errors E. Beyond u = 8 only
// the clipping counts, the squares (u - 7.5)^2 and, in units of d, (u
// - 6.375)^2, whose sum is at most 9 times their difference; the rest of D
// being at most 8, E together are at most 88 + 9 |D|: 1700 e, and for the
// ratio's rounding 350 e. Clipped values' own roundings, 2 r e (2 u + r), come
// to 600 e where D is within its bound. Together 5500 e, less than 2^-11 = 8192
// e.
struct Mse2Step {
  static constexpr float kBound = 0x1p-11f;

  // `bits`: of the bfloat16 step; exponents 2^-56 .. 2^56.
  static WUSH_HOST_DEVICE bool is_bounded(std::uint32_t bits) {
    return bits - (71u << 7) < (184u - 71u) << 7;
  }

  // One lane's part of the sum of squares.
  static WUSH_HOST_DEVICE float squares(const float (&x)[8]) {
    float sum = 0;
    for (int i = 0; i < 8; ++i) sum = fused(x[i], x[i], sum);
    return sum;
  }
  // Whether the specification's scale has the bits of `ideal` rounded to
  // bfloat16, if `ideal` is the root of the mean of such squares, to 2 e, times
  // the format's constant. Its own ideal scale is off by at most 13 e, as many
  // ulps: 6 e and 10 e from the sums, halved by the root, 3 e from the roots
  // and 2 e from the products. So it rounds alike 16 ulps from a midpoint.
  static WUSH_HOST_DEVICE bool rounds_surely(float ideal) {
    return ((to_bits(ideal) - 0x7ff0u) & 0xffffu) > 0x20u;
  }

  // 1 / step, correctly rounded, from `approximate`, at most 2 ulps off.
  static WUSH_HOST_DEVICE float reciprocal(float step, float approximate) {
    return fused(approximate, fused(-step, approximate, 1.0f), approximate);
  }

  // `inverse`, `extra_inverse`: reciprocals of the steps to one ulp.
  static WUSH_HOST_DEVICE float advantage(const float (&x)[8], float inverse,
                                          float extra_inverse, float ratio) {
    const float cut = inverse * (1 / kCut);
    const float extra_cut = extra_inverse * (1 / kCut);
    float error = 0, extra_error = 0;
    for (int i = 0; i < 8; ++i) {
      const float a = std::fabs(x[i]);
      error = add_error(a, inverse, cut, error);
      extra_error = add_error(a, extra_inverse, extra_cut, extra_error);
    }
    return fused(-(ratio * ratio), extra_error, error);
  }

 private:
  // Values from here on have element 7.5.
  static constexpr float kCut = 7.75f;

  static WUSH_HOST_DEVICE float add_error(float a, float inverse, float cut,
                                          float error) {
    // Sums from 2^23 on are integers; 2^23 - 1/2 is a float, too.
    const float sum = fused_down_to_integer(saturate(a * cut), kCut, 0x1p23f);
    const float r = fused(a, -inverse, sum - (0x1p23f - 0.5f));
    return fused(r, r, error);
  }
};

}  // namespace wush::numerics
