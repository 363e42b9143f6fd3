// Quantizing with packing, decoding and GPTQ's inner recursion on one core.
// Results are compared with the scalar specification before anything is timed.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/bench/rotating.h"
#include "kernels/cpu/quantize.h"
#include "kernels/cpu/quantize_feedback.h"
#include "kernels/cpu/simd/kernels.h"
#include "kernels/numerics/group_quantizer.h"

namespace wush::kernels::bench {
namespace {

using numerics::GroupQuantizer;
using numerics::kFormatUnit;

constexpr std::int64_t kRows = 64;

struct Packed {
  explicit Packed(std::int64_t rows)
      : codes(static_cast<std::size_t>(rows * kCols / 2)),
        scales(static_cast<std::size_t>(rows * kCols / 16)) {}
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;  // room for every format
};

std::int64_t quantize(Isa isa, Format format, ScaleRule rule, const float* x,
                      Packed& out) {
  return kernels_for(isa).quantize->quantize_float(
      format, rule, kFormatUnit, x, kRows, kCols, kCols, out.codes.data(),
      out.scales.data());
}
std::int64_t quantize(Isa isa, Format format, ScaleRule rule, const double* x,
                      Packed& out) {
  return kernels_for(isa).quantize->quantize_double(
      format, rule, kFormatUnit, x, kRows, kCols, kCols, out.codes.data(),
      out.scales.data());
}

// Whether quantizing a slab gives the codes of the specification.
template <class P>
bool is_specified(Isa isa, Format format, ScaleRule rule, const P* x) {
  Packed found(kRows), expected(kRows);
  if (quantize(isa, format, rule, x, found) != kAllFinite) return false;
  numerics::dispatch_format(format, [&]<Format F>() {
    constexpr int kGroup = GroupQuantizer<F, P>::kGroup;
    for (std::int64_t i = 0; i < kRows * kCols; i += kGroup) {
      std::uint8_t codes[kGroup];
      GroupQuantizer<F, P>{}.quantize(x + i, rule, codes);
      pack_codes(codes, kGroup, expected.codes.data() + i / 2);
    }
  });
  return found.codes == expected.codes;
}

template <class P>
void quantize_slabs(benchmark::State& state, Isa isa, Format format,
                    ScaleRule rule) {
  RotatingSlabs<P> slabs(kRows);
  Packed out(kRows);
  if (!isa_available(isa)) {
    state.SkipWithError("this CPU lacks the instruction set");
    return;
  }
  if (!is_specified(isa, format, rule, slabs.next())) {
    state.SkipWithError("differs from the specification");
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(quantize(isa, format, rule, slabs.next(), out));
    benchmark::ClobberMemory();
  }
  const std::int64_t count = state.iterations() * kRows * kCols;
  state.SetBytesProcessed(count * static_cast<std::int64_t>(sizeof(P)));
  state.SetItemsProcessed(count);
}

// Whether `out` holds the specification's values of the codes.
bool is_decoded(Format format, const Packed& in,
                const std::vector<float>& out) {
  bool same = true;
  numerics::dispatch_format(format, [&]<Format F>() {
    using Q = GroupQuantizer<F, float>;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(in.scales.data());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t group = i / Q::kGroup;
      const std::uint16_t scale =
          Q::kFormat.scale_bytes() == 2 ? in.scales[group] : bytes[group];
      const auto code =
          static_cast<std::uint8_t>(in.codes[i / 2] >> (i % 2 * 4) & 15);
      same = same && out[i] == Q::element(code) * Q{}.decode_multiplier(scale);
    }
  });
  return same;
}

// bytes_per_second counts the decoded values.
void dequantize_slabs(benchmark::State& state, Format format) {
  RotatingSlabs<float> slabs(kRows);
  constexpr std::size_t kPacked = 256;
  std::vector<Packed> inputs(kPacked, Packed(kRows));
  for (Packed& input : inputs) {
    quantize(best_isa(), format, ScaleRule::kAbsMax, slabs.next(), input);
  }
  std::vector<float> out(static_cast<std::size_t>(kRows * kCols));
  dequantize_rows(format, kFormatUnit, inputs[0].codes.data(),
                  inputs[0].scales.data(), kRows, kCols, kCols, out.data());
  if (!is_decoded(format, inputs[0], out)) {
    state.SkipWithError("differs from the specification");
    return;
  }
  std::size_t turn = 0;
  for (auto _ : state) {
    const Packed& input = inputs[turn++ % kPacked];
    dequantize_rows(format, kFormatUnit, input.codes.data(),
                    input.scales.data(), kRows, kCols, kCols, out.data());
    benchmark::ClobberMemory();
  }
  const std::int64_t count = state.iterations() * kRows * kCols;
  state.SetBytesProcessed(count * static_cast<std::int64_t>(sizeof(float)));
  state.SetItemsProcessed(count);
}

// Items are values; flops are the rows * K^2 / 2 multiplications and additions.
void feedback(benchmark::State& state, Format format) {
  const std::int64_t width = state.range(0), rows = kRows * kCols / width;
  RotatingSlabs<double> slabs(kRows);
  std::vector<double> lower(static_cast<std::size_t>(width * width), 0.01);
  std::vector<double> values(static_cast<std::size_t>(rows * width));
  Packed out(kRows);
  const FeedbackOutput output{
      out.codes.data(),  width / 2,
      out.scales.data(), width / numerics::describe(format).group,
      values.data(),     width};
  const std::vector<double> zeros(lower.size(), 0);
  Packed plain(kRows);
  const double* x = slabs.next();
  quantize_with_feedback(format, ScaleRule::kAbsMax, kFormatUnit, x, rows,
                         width, width, zeros.data(), output);
  quantize(best_isa(), format, ScaleRule::kAbsMax, x, plain);
  if (plain.codes != out.codes) {
    state.SkipWithError("without feedback it is not quantizing");
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(quantize_with_feedback(
        format, ScaleRule::kAbsMax, kFormatUnit, slabs.next(), rows, width,
        width, lower.data(), output));
    benchmark::ClobberMemory();
  }
  const std::int64_t count = state.iterations() * rows * width;
  state.SetBytesProcessed(count * static_cast<std::int64_t>(sizeof(double)));
  state.SetItemsProcessed(count);
  state.counters["flops"] = benchmark::Counter(
      static_cast<double>(count * width), benchmark::Counter::kIsRate);
}

constexpr Format kFormats[] = {Format::kMxfp4, Format::kNvfp4, Format::kInt4,
                               Format::kMxfp4Ocp};

std::string label(const char* operation, Format format) {
  return std::string(operation) + "/" +
         std::string(numerics::describe(format).name);
}

const int kRegistered = [] {
  constexpr Isa kIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512};
  for (const Format format : kFormats) {
    for (const ScaleRule rule :
         {ScaleRule::kAbsMax, ScaleRule::kMse2, ScaleRule::kSearch}) {
      const std::string rule_name(
          numerics::kScaleRuleNames[static_cast<std::size_t>(rule)]);
      for (const Isa isa : kIsas) {
        const std::string name = label("quantize_float", format) + "/" +
                                 rule_name + "/" + std::string(isa_name(isa));
        benchmark::RegisterBenchmark(name.c_str(), quantize_slabs<float>, isa,
                                     format, rule);
      }
      const std::string name =
          label("quantize_double", format) + "/" + rule_name;
      benchmark::RegisterBenchmark(name.c_str(), quantize_slabs<double>,
                                   best_isa(), format, rule);
    }
    benchmark::RegisterBenchmark(label("dequantize_float", format).c_str(),
                                 dequantize_slabs, format);
    benchmark::RegisterBenchmark(label("feedback", format).c_str(), feedback,
                                 format)
        ->ArgName("K")
        ->Arg(32)
        ->Arg(128);
  }
  return 0;
}();

}  // namespace
}  // namespace wush::kernels::bench
