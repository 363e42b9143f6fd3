// One group of a block format in vector registers, with the arithmetic of
// numerics::GroupQuantizer: same operations in the same order, same bits.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/vector.h"
#include "kernels/numerics/group_quantizer.h"

namespace wush::kernels::WUSH_ISA {

using numerics::EncodeMultiplier;
using numerics::Format;
using numerics::GroupQuantizer;
using numerics::Ieee;
using numerics::ScaleRule;

// What rounding to an element gives: the code in each lane, and the element's
// value in units of scale * unit.
template <class P>
struct Rounded {
  typename Vector<P>::Int code;
  typename Vector<P>::Float value;
};

// Rounds to e2m1 by adding a power of two that leaves just the element's bits:
// with p = 2^floor(log2 |v|), at least 1, e2m1 has steps of p / 2 around v, and
// |v| + 1.5 * 2^(mantissa - 1) * p rounds to a multiple of p / 2, ties to even.
// The multiple n and log2(p) give the magnitude's index n + 2 log2(p).
template <class P>
struct RoundedMagnitude {
  typename Vector<P>::Float sum;    // magnitude + magic
  typename Vector<P>::Float magic;  // 1.5 * 2^(mantissa - 1) * p
  typename Vector<P>::Int power;    // the bits of p
};

template <class P>
inline constexpr typename Ieee<P>::Bits kToMagic =
    (typename Ieee<P>::Bits{Ieee<P>::kMantissa - 1} << Ieee<P>::kMantissa) |
    (typename Ieee<P>::Bits{1} << (Ieee<P>::kMantissa - 1));

template <class P>
inline RoundedMagnitude<P> round_e2m1_magnitude(
    typename Vector<P>::Float magnitude) {
  using V = Vector<P>;
  using Bits = typename V::Bits;
  constexpr Bits kExponent =
      ((Bits{1} << (sizeof(P) * 8 - 1 - Ieee<P>::kMantissa)) - 1)
      << Ieee<P>::kMantissa;
  const auto a = V::min(magnitude, V::broadcast(P(numerics::kE2m1Max)));
  const auto power = V::as_int(
      V::max(V::as_float(V::int_and(V::as_int(a), V::int_broadcast(kExponent))),
             V::broadcast(P(1))));
  const auto magic =
      V::as_float(V::int_add(power, V::int_broadcast(kToMagic<P>)));
  return {V::add(a, magic), magic, power};
}

template <class P>
inline Rounded<P> round_e2m1(typename Vector<P>::Float v) {
  using V = Vector<P>;
  using Bits = typename V::Bits;
  constexpr int kMantissa = Ieee<P>::kMantissa;
  constexpr Bits kIndexBias = kToMagic<P> + 2 * Bits{Ieee<P>::kBias};
  const auto bits = V::as_int(v);
  const auto sign =
      V::int_and(bits, V::int_broadcast(Bits{1} << (sizeof(P) * 8 - 1)));
  const auto [sum, magic, power] =
      round_e2m1_magnitude<P>(V::as_float(V::int_xor(bits, sign)));
  const auto index =
      V::int_sub(V::int_add(V::int_sub(V::as_int(sum), power),
                            V::template shift_right<kMantissa - 1>(power)),
                 V::int_broadcast(kIndexBias));
  const auto sign_of_code = V::template shift_right<sizeof(P) * 8 - 4>(sign);
  return {V::int_or(index, sign_of_code),
          V::as_float(V::int_or(V::as_int(V::sub(sum, magic)), sign))};
}

// Rounds to the mid-rise integers: c = clamp(floor(v), -8, 7), value c + 0.5.
template <class P>
inline Rounded<P> round_int4(typename Vector<P>::Float v) {
  using V = Vector<P>;
  const auto clamped =
      V::max(V::min(v, V::broadcast(P(7.5))), V::broadcast(P(-8)));
  const auto c = V::floor(clamped);
  // Adding 1.5 * 2^mantissa leaves c in two's complement in the low bits.
  const auto shifted = V::add(
      c, V::broadcast(P(1.5) * numerics::power_of_two<P>(Ieee<P>::kMantissa)));
  return {V::int_and(V::as_int(shifted), V::int_broadcast(15)),
          V::add(c, V::broadcast(P(0.5)))};
}

// Vector counterpart of GroupQuantizer<F, P>; a group is kVectors registers.
template <Format F, class P>
class GroupVectors {
 public:
  using V = Vector<P>;
  using Scalar = GroupQuantizer<F, P>;
  using Bits = typename V::Bits;
  static constexpr int kGroup = Scalar::kGroup;
  static constexpr int kVectors = kGroup / V::kLanes;
  static constexpr auto kFormat = Scalar::kFormat;

  struct Group {
    typename V::Float part[kVectors];
  };

  explicit GroupVectors(float unit)
      : scalar_{numerics::resolve_unit<F, P>(unit)} {
    if constexpr (kTabulated) {
      for (int scale = 0; scale < kTableSize; ++scale) {
        const auto s = static_cast<std::uint16_t>(scale);
        encode_[scale] = scalar_.encode_multiplier(s);
        decode_[scale] = scalar_.decode_multiplier(s);
      }
    }
  }

  EncodeMultiplier<P> encode_multiplier(std::uint16_t scale) const {
    if constexpr (kTabulated) return encode_[scale];
    return scalar_.encode_multiplier(scale);
  }
  P decode_multiplier(std::uint16_t scale) const {
    if constexpr (kTabulated) return decode_[scale];
    return scalar_.decode_multiplier(scale);
  }

  static Group load(const P* x) {
    Group group;
    for (int i = 0; i < kVectors; ++i) {
      group.part[i] = V::load(x + i * V::kLanes);
    }
    return group;
  }

  // Bits of the largest magnitude. The order of magnitudes is that of their
  // bits as integers, infinity and NaN above all, so one comparison finds them.
  static Bits amax_bits(const Group& group) {
    const auto mask = V::int_broadcast(kMagnitude);
    auto largest = V::int_and(V::as_int(group.part[0]), mask);
    for (int i = 1; i < kVectors; ++i) {
      largest = V::int_max(largest, V::int_and(V::as_int(group.part[i]), mask));
    }
    return V::max_bits(largest);
  }

  static P statistic(const Group& group, Bits amax) {
    if constexpr (kFormat.statistic == numerics::Statistic::kAbsMax) {
      return std::bit_cast<P>(amax);
    } else {
      Group squares;
      for (int i = 0; i < kVectors; ++i) {
        squares.part[i] = V::mul(group.part[i], group.part[i]);
      }
      return numerics::square_root(halving_sum(squares) * (P(1) / kGroup));
    }
  }

  static typename V::Float scaled(typename V::Float x, EncodeMultiplier<P> m) {
    if (m.first != P(1)) x = V::mul(x, V::broadcast(m.first));
    return V::mul(x, V::broadcast(m.second));
  }

  static Rounded<P> round(typename V::Float x, EncodeMultiplier<P> m) {
    const auto v = scaled(x, m);
    if constexpr (kFormat.element == numerics::Element::kE2m1) {
      return round_e2m1<P>(v);
    } else {
      return round_int4<P>(v);
    }
  }

  // kGroup / 2 bytes. A multiplier of zero gives codes of zero; e2m1 would keep
  // the signs.
  static void store_codes(const Group& group, EncodeMultiplier<P> m,
                          std::uint8_t* codes) {
    if (m.second == P(0)) {
      for (int i = 0; i < kGroup / 2; ++i) codes[i] = 0;
      return;
    }
    for (int i = 0; i < kVectors; ++i) {
      V::store_nibbles(codes + i * V::kLanes / 2, round(group.part[i], m).code);
    }
  }

  // What squared_error takes: e2m1 is symmetric, so magnitudes give the same
  // squares and need no signs.
  static Group for_errors(const Group& group) {
    if constexpr (kFormat.element == numerics::Element::kE2m1) {
      Group magnitudes;
      for (int i = 0; i < kVectors; ++i) {
        magnitudes.part[i] = V::as_float(
            V::int_and(V::as_int(group.part[i]), V::int_broadcast(kMagnitude)));
      }
      return magnitudes;
    } else {
      return group;
    }
  }

  P squared_error(const Group& group, std::uint16_t scale) const {
    const EncodeMultiplier<P> m = encode_multiplier(scale);
    const auto d = V::broadcast(decode_multiplier(scale));
    Group squares;
    for (int i = 0; i < kVectors; ++i) {
      const auto error =
          V::sub(V::mul(nearest(group.part[i], m), d), group.part[i]);
      squares.part[i] = V::mul(error, error);
    }
    return halving_sum(squares);
  }

  // Scale of a group of finite values, not all zero.
  template <ScaleRule rule>
  std::uint16_t choose_scale(const Group& group, P statistic) const {
    const std::uint16_t base = scalar_.absmax_scale(statistic);
    constexpr int kExtra = Scalar::extra_candidates(rule);
    if constexpr (kExtra == 0) return base;
    const Group values = for_errors(group);
    std::uint16_t best = base;
    P smallest = squared_error(values, base);
    for (int i = 0; i < kExtra; ++i) {
      const int scale = scalar_.candidate(rule, i, statistic, base);
      if (scale < 0) continue;
      const P error = squared_error(values, static_cast<std::uint16_t>(scale));
      if (error < smallest) {
        smallest = error;
        best = static_cast<std::uint16_t>(scale);
      }
    }
    return best;
  }

 private:
  static constexpr Bits kMagnitude = ~(Bits{1} << (sizeof(P) * 8 - 1));
  // e4m3 has few scales and their reciprocals are divisions.
  static constexpr bool kTabulated =
      kFormat.scale == numerics::ScaleType::kE4m3;
  static constexpr int kTableSize = kTabulated ? numerics::kE4m3MaxCode + 1 : 1;

  // Element value nearest to x (of for_errors), in units of scale * unit.
  static typename V::Float nearest(typename V::Float x, EncodeMultiplier<P> m) {
    if constexpr (kFormat.element == numerics::Element::kE2m1) {
      const auto rounded = round_e2m1_magnitude<P>(scaled(x, m));
      return V::sub(rounded.sum, rounded.magic);
    } else {
      return round(x, m).value;
    }
  }

  static P halving_sum(const Group& group) {
    Group sum = group;
    for (int half = kVectors / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) {
        sum.part[i] = V::add(sum.part[i], sum.part[i + half]);
      }
    }
    return V::halving_sum(sum.part[0]);
  }

  Scalar scalar_;
  EncodeMultiplier<P> encode_[kTableSize];
  P decode_[kTableSize];
};

// Whether a scale is beyond its type: only a bfloat16 can be.
template <Format F>
inline bool scale_overflows(std::uint16_t scale) {
  if constexpr (numerics::describe(F).scale == numerics::ScaleType::kBfloat16) {
    return (scale & 0x7f80u) == 0x7f80u;
  } else {
    return false;
  }
}

// Type a format's scale is stored in.
template <Format F>
struct StoredScale {
  using Type = std::uint8_t;
};
template <>
struct StoredScale<Format::kInt4> {
  using Type = std::uint16_t;
};

// Calls f.template operator()<Format, ScaleRule>().
template <class Function>
inline decltype(auto) dispatch_format_and_rule(Format format, ScaleRule rule,
                                               Function&& f) {
  return numerics::dispatch_format(format, [&]<Format F>() {
    switch (rule) {
      case ScaleRule::kMse2:
        return f.template operator()<F, ScaleRule::kMse2>();
      case ScaleRule::kSearch:
        return f.template operator()<F, ScaleRule::kSearch>();
      case ScaleRule::kAbsMax:
        break;
    }
    return f.template operator()<F, ScaleRule::kAbsMax>();
  });
}

}  // namespace wush::kernels::WUSH_ISA
