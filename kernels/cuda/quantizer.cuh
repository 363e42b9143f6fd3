// The group quantizer for a warp: every lane holds eight consecutive values of
// a row, and the two or four lanes of a group find its scale together. Gives
// the bits of numerics::GroupQuantizer<F, float>; files that include this are
// compiled with -fmad=false.
#pragma once

#include <cstdint>

#include "kernels/cuda/family.h"
#include "kernels/cuda/quantizer_math.cuh"
#include "kernels/cuda/types.h"
#include "kernels/numerics/group_quantizer.h"
#include "kernels/numerics/mse2_decision.h"

namespace wush::kernels::cuda {

struct QuantizerConstants {
  float unit;
  float unit_inverse;
  float absmax_factor;  // ideal scale over the group's statistic
  float mse2_factor;
  // e8m0: added to the bits of the ideal scale before its exponent is taken.
  unsigned round_up;
  int exponent_offset;  // mxfp4-ocp: 2, of the exponent of amax itself
  ScaleRule rule;
};

inline QuantizerConstants quantizer_constants(Format format, ScaleRule rule,
                                              float unit) {
  return numerics::dispatch_format(format, [&]<Format F>() {
    constexpr numerics::BlockFormat kFormat = numerics::describe(F);
    constexpr bool kOcp = F == Format::kMxfp4Ocp;
    const auto u = numerics::resolve_unit<F, float>(unit);
    const float absmax =
        kOcp ? 1.0f
        : kFormat.scale == numerics::ScaleType::kBfloat16
            ? static_cast<float>(1 / (kFormat.unit * kFormat.target))
            : u.inverse / static_cast<float>(kFormat.target);
    return QuantizerConstants{u.value,
                              u.inverse,
                              absmax,
                              u.inverse / 4.0f,
                              kOcp ? 0 : 0x00400000u,
                              kOcp ? 2 : 0,
                              rule};
  });
}

// What a scale byte of e4m3 stands for; a block of threads fills one table of
// kE4m3TableSize at its start.
struct E4m3Entry {
  float encode;
  float decode;
};
inline constexpr int kE4m3TableSize = 128;

__device__ inline void fill_e4m3_table(const QuantizerConstants& c,
                                       E4m3Entry* table) {
  for (int code = threadIdx.x; code < kE4m3TableSize; code += blockDim.x) {
    const float s = numerics::e4m3_decode<float>(code);
    table[code] = {code == 0 ? 0.0f : c.unit_inverse / s, s * c.unit};
  }
}

// What a kernel is compiled for.
enum class RuleMode : std::uint8_t {
  kAbsMax,  // not mxfp4-ocp
  kMse2,
  kAny,
};

// Units without a bound for the scales that the other two take as usual are
// left to kAny.
inline RuleMode rule_mode(Format format, ScaleRule rule, float unit) {
  if (unit != numerics::kFormatUnit &&
      !numerics::Mse2E4m3::is_bounded_unit(unit)) {
    return RuleMode::kAny;
  }
  if (rule == ScaleRule::kAbsMax && format != Format::kMxfp4Ocp) {
    return RuleMode::kAbsMax;
  }
  return rule == ScaleRule::kMse2 ? RuleMode::kMse2 : RuleMode::kAny;
}

// A lane's part of a quantized group: eight codes, and the group's scale bits.
struct QuantizedOctet {
  unsigned codes;
  unsigned scale;
  bool valid;  // for every lane of a group: whether it can be quantized
};

struct OctetValues {
  float x[8];
};

template <Family F>
struct OctetQuantizer {
  static constexpr int kGroup = group_of(F);
  const QuantizerConstants& c;
  const E4m3Entry* table;  // in shared memory, for kE4m3

  __device__ static float decode_step(unsigned scale) {
    return __uint_as_float(scale << 16);
  }

  // unit_inverse times 2^(127 - scale), by exponent.
  __device__ float normal_multiplier(unsigned scale) const {
    return __uint_as_float(__float_as_uint(c.unit_inverse) +
                           ((127u - scale) << 23));
  }

  // Takes a value to the element's range, after kTinyFirst where is_tiny; 0 for
  // a scale that makes all codes zero.
  __device__ float encode_multiplier(unsigned scale) const {
    if constexpr (F == Family::kE4m3) {
      return table[scale].encode;
    } else if constexpr (F == Family::kStep) {
      const float inverse = scale == 0 ? 0.0f : 1.0f / decode_step(scale);
      return inverse <= 3.402823466e38f ? inverse : 0.0f;
    } else {
      // 3 and 1 keep it normal for every scale that occurs but 0.
      if (scale == 0) return c.unit_inverse * 0x1p63f;
      return normal_multiplier(scale);
    }
  }
  static constexpr float kTinyFirst = 0x1p64f;
  __device__ static bool is_tiny(unsigned scale) {
    return F == Family::kPowerOfTwo && scale == 0;
  }

  __device__ float decode_multiplier(unsigned scale) const {
    if constexpr (F == Family::kE4m3) {
      return table[scale].decode;
    } else if constexpr (F == Family::kStep) {
      return decode_step(scale);
    } else {
      return __uint_as_float(scale == 0 ? 0x00400000u : scale << 23) * c.unit;
    }
  }

  // Scale bits of a statistic that is not zero.
  __device__ unsigned scale_for(float statistic, float factor) const {
    if constexpr (F == Family::kE4m3) {
#if __CUDA_ARCH__ >= 890
      unsigned short pair;
      asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;"
          : "=h"(pair)
          : "f"(0.0f), "f"(statistic * factor));
      return pair;
#else
      return numerics::e4m3_encode(statistic * factor);
#endif
    } else if constexpr (F == Family::kStep) {
      return round_to_bfloat16(statistic * factor);
    } else {
      // The bits of a subnormal ideal scale round up to byte 1 from
      // 1.5 * 2^-127 on.
      const unsigned bits = __float_as_uint(statistic * factor);
      const int byte = static_cast<int>((bits + c.round_up) >> 23);
      return bits < 0x00600000u ? 0u
                                : min(max(byte - c.exponent_offset, 0), 254);
    }
  }

  // Candidate `index`, or -1 where the scale type has no such value.
  __device__ int candidate(int index, float statistic, unsigned base) const {
    const bool mse2 = c.rule == ScaleRule::kMse2;
    if constexpr (F == Family::kE4m3) {
      if (mse2) return scale_for(statistic, c.mse2_factor);
      const int code =
          static_cast<int>(base) + (index < 5 ? index - 5 : index - 4);
      return code > numerics::kE4m3MaxCode ? -1 : max(code, -1);
    } else if constexpr (F == Family::kStep) {
      const float factor = mse2         ? 0.85f
                           : index == 0 ? 0.7f
                           : index == 1 ? 0.8f
                           : index == 2 ? 0.9f
                           : index == 3 ? 1.1f
                                        : 1.2f;
      return round_to_bfloat16(decode_step(base) * factor);
    } else {
      const int step = mse2 ? -1 : index < 2 ? index - 2 : 1;
      const int byte = static_cast<int>(base) + step;
      return byte > numerics::kE8m0MaxByte ? -1 : max(byte, -1);
    }
  }

  __device__ int extra_candidates() const {
    if (c.rule == ScaleRule::kAbsMax) return 0;
    if (c.rule == ScaleRule::kMse2) return 1;
    return F == Family::kE4m3 ? 10 : F == Family::kStep ? 5 : 3;
  }

  // floor(v) in [-8, 7], in the low bits of a float's significand.
  static constexpr float kFloorMagic = 12582912.0f;  // 1.5 * 2^23
  __device__ static float floor_int4(float v) {
    return __fadd_rd(fminf(fmaxf(v, -8.0f), 7.0f), kFloorMagic);
  }

  // Plus 8 and clamped in one instruction, as an integer; not for v <= -2^23.
  __device__ static unsigned code_plus_8(float v) {
    const int sum = __float_as_int(__fadd_rd(v, kFloorMagic));
    return __viaddmin_s32_relu(sum, 8 - 0x4b400000, 15);
  }

  __device__ float squared_error(const float (&x)[8], unsigned scale) const {
    const float m = encode_multiplier(scale);
    const float first = is_tiny(scale) ? kTinyFirst : 1.0f;
    const float d = decode_multiplier(scale);
    float squares[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float v = x[i];
      if constexpr (F == Family::kPowerOfTwo) v *= first;
      v *= m;
      float error;
      if constexpr (F == Family::kStep) {
        // Codes of a group without a usable scale are 0, element 0.5.
        const float code = m == 0 ? 0.0f : floor_int4(v) - kFloorMagic;
        error = (code + 0.5f) * d - x[i];
      } else {
        error = round_e2m1<true>(v).value() * d - x[i];
      }
      squares[i] = error * error;
    }
    return group_sum<kGroup>(squares);
  }

  // Codes of eight values, the first in the low nibble.
  template <bool kClamp>
  __device__ static unsigned encode(const float (&x)[8], float m) {
    unsigned word = 0;
#pragma unroll
    for (int i = 7; i >= 0; --i) {
      const float v = x[i] * m;
      if constexpr (F == Family::kStep) {
        word = word * 16 + code_plus_8(v);
      } else {
        const float sum = round_e2m1<kClamp>(v).sum;
        word = __funnelshift_l(numerics::RoundedE2m1::nibble(sum), word, 4);
      }
    }
    return F == Family::kStep ? word ^ 0x88888888u : word;
  }

  // Largest magnitude of the group, or its root mean square. NaN or infinity if
  // a value is.
  __device__ static float statistic(const float (&x)[8]) {
    if constexpr (F == Family::kStep) {
      float squares[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) squares[i] = x[i] * x[i];
      return sqrtf(group_sum<kGroup>(squares) * (1.0f / kGroup));
    } else {
      float largest = fabsf(x[0]);
#pragma unroll
      for (int i = 1; i < 8; ++i) largest = max_or_nan(largest, x[i]);
      largest = max_or_nan(largest, exchange(largest, 1));
      if constexpr (kGroup == 32) {
        largest = max_or_nan(largest, exchange(largest, 2));
      }
      return largest;
    }
  }

  // Codes for a scale that may be tiny or may make all codes zero.
  __device__ unsigned encode_any(const float (&x)[8], unsigned scale,
                                 bool zeros) const {
    const float m = encode_multiplier(scale);
    float larger[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      larger[i] = is_tiny(scale) ? x[i] * kTinyFirst : x[i];
    }
    const unsigned word = encode<true>(larger, m);
    return zeros || m == 0 ? 0 : word;
  }

  __device__ static bool is_zero_group(const float (&x)[8]) {
    constexpr int kLanes = kGroup / 8;
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) bits |= __float_as_uint(x[i]);
    const unsigned lanes = __ballot_sync(kFullWarp, (bits << 1) != 0);
    return (lanes >> (threadIdx.x & 31u & ~(kLanes - 1u)) &
            ((1u << kLanes) - 1u)) == 0;
  }

  // Any rule, by the steps of the specification.
  __device__ QuantizedOctet quantize_exactly(const float (&x)[8]) const {
    QuantizedOctet octet;
    const float s = statistic(x);
    const unsigned base = scale_for(s, c.absmax_factor);  // 0 for a group of 0
    if constexpr (F == Family::kStep) {
      octet.valid = (base & 0x7f80u) != 0x7f80u;
    } else {
      octet.valid = s <= 3.402823466e38f;
    }
    octet.scale = base;
    const int extra = extra_candidates();
    float smallest = extra == 0 ? 0.0f : squared_error(x, base);
    for (int i = 0; i < extra; ++i) {
      const int other = candidate(i, s, base);
      const float error = squared_error(x, max(other, 0));
      if (other >= 0 && s != 0 && error < smallest) {
        smallest = error;
        octet.scale = other;
      }
    }
    octet.codes = encode_any(x, octet.scale, s == 0);
    return octet;
  }

  // The absmax rule (not mxfp4-ocp's) for usual scales; beyond those, *certain
  // is false and the rest means nothing.
  __device__ QuantizedOctet quantize_usual_absmax(const float (&x)[8],
                                                  bool* certain) const {
    if constexpr (F == Family::kPowerOfTwo) {
      const unsigned bits = __float_as_uint(statistic(x) * c.absmax_factor);
      const unsigned scale = (bits + 0x00400000u) >> 23;
      // Not a zero group, subnormal or extreme scales, not finite.
      *certain = scale - 2u <= 251u;
      return {encode<false>(x, normal_multiplier(scale)), scale, true};
    } else if constexpr (F == Family::kE4m3) {
      const unsigned scale = scale_for(statistic(x), c.absmax_factor);
      *certain = numerics::Mse2E4m3::is_bounded(scale, scale);
      return {encode<false>(x, table[scale].encode), scale, true};
    } else {
      const UsualStep usual = usual_step(x);
      *certain = usual.certain;
      const float m = numerics::Mse2Step::reciprocal(usual.step, usual.inverse);
      return {encode<true>(x, m), usual.bits, true};
    }
  }

  // int4's absmax step without the specification's order of additions.
  struct UsualStep {
    unsigned bits;
    float step;
    float inverse;  // to an ulp
    bool certain;   // that the bits are the specification's
  };
  __device__ UsualStep usual_step(const float (&x)[8]) const {
    using Decision = numerics::Mse2Step;
    const float ideal =
        approximate_root(add_lanes<kGroup>(Decision::squares(x)) *
                         (1.0f / kGroup)) *
        c.absmax_factor;
    const unsigned bits = round_to_bfloat16(ideal);
    const float step = decode_step(bits);
    return {bits, step, approximate_reciprocal(step),
            Decision::rounds_surely(ideal) && Decision::is_bounded(bits)};
  }

  // The rule mse2 where numerics/mse2_decision.h is certain about the group;
  // *certain and the rest are the same for its lanes.
  __device__ QuantizedOctet quantize_mse2_if_certain(const float (&x)[8],
                                                     bool* certain) const {
    if constexpr (F == Family::kPowerOfTwo) {
      return choose_power_of_two(x, certain);
    } else if constexpr (F == Family::kE4m3) {
      return choose_e4m3(x, certain);
    } else {
      return choose_step(x, certain);
    }
  }
  __device__ QuantizedOctet choose_power_of_two(const float (&x)[8],
                                                bool* certain) const {
    using Decision = numerics::Mse2PowerOfTwo;
    const unsigned bits = __float_as_uint(statistic(x) * c.absmax_factor);
    const unsigned base = ((bits + c.round_up) >> 23) - c.exponent_offset;
    const float doubled = add_lanes<kGroup>(
        Decision::doubled_advantage(x, normal_multiplier(base)));
    *certain =
        Decision::is_bounded(base) & (fabsf(doubled) > 2 * Decision::kBound);
    const unsigned scale = doubled > 0 ? base - 1 : base;
    return {encode<true>(x, normal_multiplier(scale)), scale, true};
  }
  __device__ QuantizedOctet choose_e4m3(const float (&x)[8],
                                        bool* certain) const {
    using Decision = numerics::Mse2E4m3;
    const float amax = statistic(x);
    const unsigned base = scale_for(amax, c.absmax_factor);
    const unsigned extra = scale_for(amax, c.mse2_factor);
    const float multiplier = table[base].encode;
    float sums[2][8];
    const float advantage = add_lanes<kGroup>(
        Decision::advantage(x, multiplier, table[extra].encode,
                            table[extra].decode * multiplier, sums));
    *certain = Decision::is_bounded(base, extra) &
               (fabsf(advantage) > Decision::kBound);
    unsigned word = 0;
#pragma unroll
    for (int i = 7; i >= 0; --i) {
      const float sum = advantage > 0 ? sums[1][i] : sums[0][i];
      word = __funnelshift_l(numerics::RoundedE2m1::nibble(sum), word, 4);
    }
    return {word, advantage > 0 ? extra : base, true};
  }
  __device__ QuantizedOctet choose_step(const float (&x)[8],
                                        bool* certain) const {
    using Decision = numerics::Mse2Step;
    const UsualStep base = usual_step(x);
    const unsigned extra = candidate(0, 0, base.bits);
    const float extra_step = decode_step(extra);
    const float extra_inverse = approximate_reciprocal(extra_step);
    const float advantage = add_lanes<kGroup>(Decision::advantage(
        x, base.inverse, extra_inverse, extra_step * base.inverse));
    *certain = base.certain & (fabsf(advantage) > Decision::kBound);
    const bool better = advantage > 0;
    const float m = Decision::reciprocal(better ? extra_step : base.step,
                                         better ? extra_inverse : base.inverse);
    return {encode<true>(x, m), better ? extra : base.bits, true};
  }

  // Out of line: of normal groups 2e-4 (mxfp4) to 8e-4 (int4) are in doubt.
  template <ScaleRule kRule>
  __device__ __noinline__ static QuantizedOctet quantize_in_doubt(
      QuantizerConstants constants, const E4m3Entry* table,
      OctetValues values) {
    constants.rule = kRule;
    return OctetQuantizer{constants, table}.quantize_exactly(values.x);
  }

  // All lanes of the warp take part.
  template <RuleMode kMode>
  __device__ QuantizedOctet resolve(const float (&x)[8], bool certain,
                                    const QuantizedOctet& octet) const {
    // Groups of zeros are never certain, but known.
    const bool zeros = is_zero_group(x);
    if (!__any_sync(kFullWarp, !certain && !zeros)) {
      return zeros ? QuantizedOctet{0, 0, true} : octet;
    }
    OctetValues values;
#pragma unroll
    for (int i = 0; i < 8; ++i) values.x[i] = x[i];
    constexpr ScaleRule kRule =
        kMode == RuleMode::kMse2 ? ScaleRule::kMse2 : ScaleRule::kAbsMax;
    return quantize_in_doubt<kRule>(c, table, values);
  }

  // Quantizes the groups that this lane's octets belong to; all lanes of the
  // warp take part. Bit i of the result, the same for every lane of a group:
  // octet i cannot be quantized. Several octets at a time, since each is a long
  // chain of dependent instructions, with one branch for whatever is rare.
  template <RuleMode kMode, int kOctets>
  __device__ unsigned quantize(const float (&x)[kOctets][8],
                               QuantizedOctet (&octets)[kOctets]) const {
    bool certain[kOctets] = {};
    bool all = kMode != RuleMode::kAny;
#pragma unroll
    for (int i = 0; i < kOctets; ++i) {
      if constexpr (kMode == RuleMode::kAbsMax) {
        octets[i] = quantize_usual_absmax(x[i], &certain[i]);
      } else if constexpr (kMode == RuleMode::kMse2) {
        octets[i] = quantize_mse2_if_certain(x[i], &certain[i]);
      } else {
        octets[i] = quantize_exactly(x[i]);
      }
      all &= certain[i];
    }
    if (kMode != RuleMode::kAny && __all_sync(kFullWarp, all)) return 0;
    unsigned invalid = 0;
#pragma unroll
    for (int i = 0; i < kOctets; ++i) {
      if constexpr (kMode != RuleMode::kAny) {
        octets[i] = resolve<kMode>(x[i], certain[i], octets[i]);
      }
      invalid |= octets[i].valid ? 0u : 1u << i;
    }
    return invalid;
  }
};

// Lowers *first_bad to `index`.
__device__ inline void report_bad(std::uint64_t* first_bad,
                                  std::int64_t index) {
  atomicMin(reinterpret_cast<unsigned long long*>(first_bad),
            static_cast<unsigned long long>(index));
}

}  // namespace wush::kernels::cuda
