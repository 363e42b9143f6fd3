// The specification of quantizing one group, in precision P (float online,
// double inside the solvers). Every faster kernel, on the CPU or on a GPU, must
// give the same scale bits and codes, bit for bit.
//
// Each step is one correctly rounded operation in P: nothing is contracted into
// fused multiply-adds, subnormals are not flushed. Sums over a group are taken
// by halving, x[i] + x[i + n/2] for all i < n/2 until one value is left, which
// a vector unit and a warp can do in the same order.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/numerics/bfloat16.h"
#include "kernels/numerics/bits.h"
#include "kernels/numerics/e2m1.h"
#include "kernels/numerics/e4m3.h"
#include "kernels/numerics/e8m0.h"
#include "kernels/numerics/format.h"

namespace wush::numerics {

// The tensor's decode constant and its reciprocal, each rounded to P once.
template <class P>
struct Unit {
  P value;
  P inverse;
};

// The format's own constant: (1/3, 3), (0.1, 10) or (1, 1).
template <Format F, class P>
WUSH_HOST_DEVICE constexpr Unit<P> fixed_unit() {
  return {static_cast<P>(describe(F).unit),
          static_cast<P>(1.0 / describe(F).unit)};
}

// A constant chosen per tensor (formats with global_scale), stored as float.
template <class P>
WUSH_HOST_DEVICE constexpr Unit<P> tensor_unit(float unit) {
  return {static_cast<P>(unit), P(1) / static_cast<P>(unit)};
}

// Stands for the format's own constant wherever a tensor's unit is asked for.
inline constexpr float kFormatUnit = 0;

// Tensor units below would overflow float32 in 1 / (unit * e4m3 scale).
inline constexpr float kMinTensorUnit = 0x1p-100f;

// Whether `unit` may go with the format: kFormatUnit always, another one only
// with a global scale, finite and not below kMinTensorUnit.
WUSH_HOST_DEVICE constexpr bool is_valid_unit(Format format, float unit) {
  return unit == kFormatUnit || (describe(format).global_scale &&
                                 unit >= kMinTensorUnit && is_finite(unit));
}

template <Format F, class P>
WUSH_HOST_DEVICE constexpr Unit<P> resolve_unit(float unit) {
  return unit == kFormatUnit ? fixed_unit<F, P>() : tensor_unit<P>(unit);
}

// The constant that `global_scale: amax` chooses: the largest magnitude of the
// tensor lands on 6 * 448. An all-zero tensor gets the format's own constant; a
// tensor below 2^-88 gets kMinTensorUnit, and its groups smaller scales.
WUSH_HOST_DEVICE constexpr float amax_unit(Format format, float amax) {
  if (!(amax > 0)) return static_cast<float>(describe(format).unit);
  const float unit = amax / static_cast<float>(kE2m1Max * kE4m3Max);
  return unit < kMinTensorUnit ? kMinTensorUnit : unit;
}

// Takes x to the element's range: (x * first) * second with `first` a power of
// two, so that only one rounding happens. `first` is 1 except where the product
// of both would overflow P (float32 at scale byte 0: 3 * 2^127).
// second == 0 marks a group whose codes are all zero.
template <class P>
struct EncodeMultiplier {
  P first;
  P second;
};

// Sum of n values, n a power of two, by halving; overwrites v.
template <int n, class P>
WUSH_HOST_DEVICE constexpr P halving_sum(P* v) {
  for (int half = n / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) v[i] = v[i] + v[i + half];
  }
  return v[0];
}

WUSH_HOST_DEVICE inline float square_root(float x) { return sqrtf(x); }
WUSH_HOST_DEVICE inline double square_root(double x) { return sqrt(x); }

// Scale bits are kept in 16: e8m0 and e4m3 use the low byte.
template <Format F, class P>
struct GroupQuantizer {
  static constexpr BlockFormat kFormat = describe(F);
  static constexpr int kGroup = kFormat.group;

  Unit<P> unit = fixed_unit<F, P>();

  // Largest magnitude of the group. Not finite if any element is not.
  static WUSH_HOST_DEVICE constexpr P amax(const P* x) {
    P largest = 0;
    for (int i = 0; i < kGroup; ++i) {
      const P a = magnitude(x[i]);
      largest = (a > largest || a != a) ? a : largest;
    }
    return largest;
  }

  // The statistic the scale is made of: amax, or the root mean square, whose
  // squares are summed by halving. (Squares below 2^-149 vanish in float32:
  // a group with RMS under about 1e-22 is a zero group of int4.)
  static WUSH_HOST_DEVICE P statistic(const P* x) {
    if constexpr (kFormat.statistic == Statistic::kAbsMax) {
      return amax(x);
    } else {
      P squares[kGroup];
      for (int i = 0; i < kGroup; ++i) squares[i] = x[i] * x[i];
      return square_root(halving_sum<kGroup>(squares) * (P(1) / kGroup));
    }
  }

  // Rounds an ideal scale to the format's scale type (mxfp4-ocp: see
  // scale_for).
  static WUSH_HOST_DEVICE constexpr std::uint16_t round_scale(P ideal) {
    static_assert(kFormat.scale != ScaleType::kE8m0Floor);
    if constexpr (kFormat.scale == ScaleType::kE8m0Round) {
      return e8m0_round(ideal);
    } else if constexpr (kFormat.scale == ScaleType::kE4m3) {
      return e4m3_encode(ideal);
    } else {
      return bfloat16_encode(ideal);
    }
  }

  // Scale that maps the statistic to `target`, one rounded constant and one
  // multiplication: mxfp4 P(3/4), nvfp4 P(10/6), int4 P(0.3352). mxfp4-ocp
  // takes the exponent of the statistic itself, since amax / 4 may be subnormal
  // and round up to a power of two.
  WUSH_HOST_DEVICE constexpr std::uint16_t scale_for(P statistic,
                                                     P target) const {
    if constexpr (kFormat.scale == ScaleType::kE8m0Floor) {
      return e8m0_from_exponent(floor_log2(statistic) - floor_log2(target));
    } else if constexpr (kFormat.scale == ScaleType::kBfloat16) {
      return round_scale(statistic *
                         static_cast<P>(1 / (kFormat.unit * kFormat.target)));
    } else {
      return round_scale(statistic * (unit.inverse / target));
    }
  }
  WUSH_HOST_DEVICE constexpr std::uint16_t absmax_scale(P statistic) const {
    return scale_for(statistic, static_cast<P>(kFormat.target));
  }

  // Number of candidates that a rule adds to the absmax scale.
  static WUSH_HOST_DEVICE constexpr int extra_candidates(ScaleRule rule) {
    if (rule == ScaleRule::kAbsMax) return 0;
    if (rule == ScaleRule::kMse2) return 1;
    if constexpr (kFormat.scale == ScaleType::kE4m3) return 10;
    if constexpr (kFormat.scale == ScaleType::kBfloat16) return 5;
    return 3;
  }

  // Candidate `index` in [0, extra_candidates), or -1 where the scale type has
  // no such value. `base` is the absmax scale.
  WUSH_HOST_DEVICE constexpr int candidate(ScaleRule rule, int index,
                                           P statistic, int base) const {
    if constexpr (kFormat.scale == ScaleType::kE4m3) {
      if (rule == ScaleRule::kMse2) return scale_for(statistic, P(4));
      const int code = base + (index < 5 ? index - 5 : index - 4);
      return code < 0 || code > kE4m3MaxCode ? -1 : code;
    } else if constexpr (kFormat.scale == ScaleType::kBfloat16) {
      constexpr double kFactors[] = {0.7, 0.8, 0.9, 1.1, 1.2};
      const double factor = rule == ScaleRule::kMse2 ? 0.85 : kFactors[index];
      return bfloat16_encode(decode_scale(static_cast<std::uint16_t>(base)) *
                             static_cast<P>(factor));
    } else {
      const int step = rule == ScaleRule::kMse2 ? -1
                       : index < 2              ? index - 2
                                                : 1;
      const int byte = base + step;
      return byte < 0 || byte > kE8m0MaxByte ? -1 : byte;
    }
  }

  static WUSH_HOST_DEVICE constexpr P decode_scale(std::uint16_t scale) {
    if constexpr (kFormat.scale == ScaleType::kE4m3) {
      return e4m3_decode<P>(static_cast<std::uint8_t>(scale));
    } else if constexpr (kFormat.scale == ScaleType::kBfloat16) {
      return static_cast<P>(bfloat16_decode(scale));
    } else {
      return power_of_two<P>(e8m0_exponent(static_cast<std::uint8_t>(scale)));
    }
  }

  WUSH_HOST_DEVICE constexpr EncodeMultiplier<P> encode_multiplier(
      std::uint16_t scale) const {
    if constexpr (kFormat.scale == ScaleType::kE4m3) {
      return scale == 0
                 ? EncodeMultiplier<P>{1, 0}
                 : EncodeMultiplier<P>{1, unit.inverse / decode_scale(scale)};
    } else if constexpr (kFormat.scale == ScaleType::kBfloat16) {
      const P inverse = scale == 0 ? P(0) : unit.inverse / decode_scale(scale);
      return {1, is_finite(inverse) ? inverse : P(0)};
    } else {
      const int k = e8m0_exponent(static_cast<std::uint8_t>(scale));
      if (k == -kE8m0Bias) {
        return {power_of_two<P>(64), unit.inverse * power_of_two<P>(-k - 64)};
      }
      return {1, unit.inverse * power_of_two<P>(-k)};
    }
  }

  // Decoding multiplies the element by P(scale * unit). (In float32 the product
  // is infinite for the largest elements of mxfp4 at scale byte 254, that is
  // for inputs above 2.8e38.)
  WUSH_HOST_DEVICE constexpr P decode_multiplier(std::uint16_t scale) const {
    return decode_scale(scale) * unit.value;
  }

  static WUSH_HOST_DEVICE constexpr std::uint8_t encode(P x,
                                                        EncodeMultiplier<P> m) {
    if (m.second == P(0)) return 0;
    const P v = (x * m.first) * m.second;
    if constexpr (kFormat.element == Element::kE2m1) {
      return e2m1_encode(v);
    } else {
      if (v < P(-8)) return 0x8;
      if (v >= P(7)) return 0x7;
      const int truncated = static_cast<int>(v);
      const int c = static_cast<P>(truncated) > v ? truncated - 1 : truncated;
      return static_cast<std::uint8_t>(c & 0xf);
    }
  }

  // Value of a code in units of scale * unit.
  static WUSH_HOST_DEVICE constexpr P element(std::uint8_t code) {
    if constexpr (kFormat.element == Element::kE2m1) {
      return e2m1_decode<P>(code);
    } else {
      return static_cast<P>(((code & 0xf) ^ 8) - 8) + P(0.5);
    }
  }

  // Sum over the group of (decode(encode(x)) - x)^2, by halving.
  WUSH_HOST_DEVICE constexpr P squared_error(const P* x,
                                             std::uint16_t scale) const {
    const EncodeMultiplier<P> m = encode_multiplier(scale);
    const P d = decode_multiplier(scale);
    P errors[kGroup] = {};
    for (int i = 0; i < kGroup; ++i) {
      const P error = element(encode(x[i], m)) * d - x[i];
      errors[i] = error * error;
    }
    return halving_sum<kGroup>(errors);
  }

  // Scale of a group of finite values under a rule; 0 for a group of zeros.
  WUSH_HOST_DEVICE std::uint16_t choose_scale(const P* x,
                                              ScaleRule rule) const {
    const P a = statistic(x);
    if (a == P(0)) return 0;
    std::uint16_t best = absmax_scale(a);
    const int extra = extra_candidates(rule);
    if (extra == 0) return best;
    const int base = best;
    P smallest = squared_error(x, best);
    for (int i = 0; i < extra; ++i) {
      const int scale = candidate(rule, i, a, base);
      if (scale < 0) continue;
      const P error = squared_error(x, static_cast<std::uint16_t>(scale));
      if (error < smallest) {
        smallest = error;
        best = static_cast<std::uint16_t>(scale);
      }
    }
    return best;
  }

  // Quantizes a group of finite values: scale bits and kGroup codes, one a
  // byte. A group of zeros has scale 0 and codes 0 (also for -0).
  WUSH_HOST_DEVICE std::uint16_t quantize(const P* x, ScaleRule rule,
                                          std::uint8_t* codes) const {
    const std::uint16_t scale = choose_scale(x, rule);
    const bool zero = scale == 0 && amax(x) == P(0);
    const EncodeMultiplier<P> m =
        zero ? EncodeMultiplier<P>{1, 0} : encode_multiplier(scale);
    for (int i = 0; i < kGroup; ++i) codes[i] = encode(x[i], m);
    return scale;
  }
};

}  // namespace wush::numerics
