// Compiled once for each instruction set; see kernels/cpu/quantize.h.
#include "kernels/cpu/simd/group_vectors.h"
#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels::WUSH_ISA {
namespace {

// Column of the first value of a group that is not finite; 0 if all are.
template <class P>
std::int64_t first_fault(const P* x, int group) {
  for (int i = 0; i < group; ++i) {
    if (!numerics::is_finite(x[i])) return i;
  }
  return 0;
}

// One row; returns the column of a fault or kAllFinite.
template <Format F, ScaleRule rule, class P>
std::int64_t quantize_row(const GroupVectors<F, P>& quantizer, const P* x,
                          std::int64_t cols, std::uint8_t* codes,
                          typename StoredScale<F>::Type* scales) {
  using Q = GroupVectors<F, P>;
  constexpr auto kInfinity = numerics::to_bits(P(__builtin_huge_val()));
  for (std::int64_t c = 0; c < cols; c += Q::kGroup) {
    const auto group = Q::load(x + c);
    const auto amax = Q::amax_bits(group);
    if (amax >= kInfinity) return c + first_fault(x + c, Q::kGroup);
    const P statistic = Q::statistic(group, amax);
    std::uint16_t scale = 0;
    EncodeMultiplier<P> m{1, 0};
    if (statistic != P(0)) {
      scale = quantizer.template choose_scale<rule>(group, statistic);
      if (scale_overflows<F>(scale)) return c;
      m = quantizer.encode_multiplier(scale);
    }
    *scales++ = static_cast<typename StoredScale<F>::Type>(scale);
    Q::store_codes(group, m, codes);
    codes += Q::kGroup / 2;
  }
  return kAllFinite;
}

template <class P>
std::int64_t quantize(Format format, ScaleRule rule, float unit, const P* x,
                      std::int64_t rows, std::int64_t cols, std::int64_t stride,
                      std::uint8_t* codes, void* scales) {
  return dispatch_format_and_rule(
      format, rule, [&]<Format F, ScaleRule kRule>() -> std::int64_t {
        const GroupVectors<F, P> quantizer(unit);
        auto* out = static_cast<typename StoredScale<F>::Type*>(scales);
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t fault = quantize_row<F, kRule, P>(
              quantizer, x + r * stride, cols, codes + r * (cols / 2),
              out + r * (cols / quantizer.kGroup));
          if (fault != kAllFinite) return r * cols + fault;
        }
        return kAllFinite;
      });
}

template <class P>
void dequantize(Format format, float unit, const std::uint8_t* codes,
                const void* scales, std::int64_t rows, std::int64_t cols,
                std::int64_t stride, P* out) {
  using V = Vector<P>;
  numerics::dispatch_format(format, [&]<Format F>() {
    using Q = GroupQuantizer<F, P>;
    const Q quantizer{numerics::resolve_unit<F, P>(unit)};
    P elements[16];
    for (int code = 0; code < 16; ++code) {
      elements[code] = Q::element(static_cast<std::uint8_t>(code));
    }
    const auto* scale =
        static_cast<const typename StoredScale<F>::Type*>(scales);
    const std::uint8_t* packed = codes;
    for (std::int64_t r = 0; r < rows; ++r) {
      P* row = out + r * stride;
      for (std::int64_t c = 0; c < cols; c += Q::kGroup) {
        const auto d = V::broadcast(quantizer.decode_multiplier(*scale++));
        for (int i = 0; i < Q::kGroup; i += V::kLanes) {
          const auto value = V::lookup16(elements, V::load_nibbles(packed));
          V::store(row + c + i, V::mul(value, d));
          packed += V::kLanes / 2;
        }
      }
    }
  });
}

}  // namespace

const QuantizeKernels kQuantizeKernels = {
    quantize<float>, quantize<double>, dequantize<float>, dequantize<double>};

}  // namespace wush::kernels::WUSH_ISA
