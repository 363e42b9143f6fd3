// GPTQ's inner recursion against the loop as it is written in the paper, bit
// for bit, and its limit without feedback.
#include "kernels/cpu/quantize_feedback.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include "kernels/cpu/simd/kernels.h"
#include "kernels/numerics/group_quantizer.h"
#include "tests/kernels/quantize_inputs.h"

namespace wush::kernels {
namespace {

using numerics::GroupQuantizer;
using numerics::kFormatUnit;

struct Result {
  std::vector<std::uint8_t> codes;  // one a byte
  std::vector<std::uint16_t> scales;
  std::vector<double> values;
};

// One row after another, one column after another.
Result naive(Format format, ScaleRule rule, float unit, std::vector<double> x,
             std::size_t rows, std::size_t width,
             const std::vector<double>& lower) {
  Result out;
  numerics::dispatch_format(format, [&]<Format F>() {
    using Q = GroupQuantizer<F, double>;
    const Q quantizer{numerics::resolve_unit<F, double>(unit)};
    for (std::size_t r = 0; r < rows; ++r) {
      double* row = x.data() + r * width;
      numerics::EncodeMultiplier<double> m{1, 0};
      double decode = 0;
      for (std::size_t c = 0; c < width; ++c) {
        if (c % Q::kGroup == 0) {
          std::uint8_t unused[Q::kGroup];
          const auto scale = quantizer.quantize(row + c, rule, unused);
          const bool zero = Q::statistic(row + c) == 0;
          m = zero ? numerics::EncodeMultiplier<double>{1, 0}
                   : quantizer.encode_multiplier(scale);
          decode = quantizer.decode_multiplier(scale);
          out.scales.push_back(scale);
        }
        const std::uint8_t code = Q::encode(row[c], m);
        const double q = Q::element(code) * decode;
        const double error = q - row[c];
        for (std::size_t next = c + 1; next < width; ++next) {
          row[next] = row[next] + error * lower[next * width + c];
        }
        out.codes.push_back(code);
        out.values.push_back(q);
      }
    }
  });
  return out;
}

// Runs a kernel into a wider matrix, so that the strides are seen to be kept.
Result run(Isa isa, Format format, ScaleRule rule, float unit,
           const std::vector<double>& x, std::size_t rows, std::size_t width,
           const std::vector<double>& lower, std::int64_t& fault) {
  const auto& description = numerics::describe(format);
  const std::size_t groups =
      width / static_cast<std::size_t>(description.group);
  const std::size_t code_stride = width / 2 + 7, scale_stride = groups + 2,
                    value_stride = width + 3, x_stride = width + 5;
  std::vector<double> wide_x(rows * x_stride, std::nan(""));
  for (std::size_t i = 0; i < x.size(); ++i) {
    wide_x[i / width * x_stride + i % width] = x[i];
  }
  std::vector<std::uint8_t> codes(rows * code_stride, 0xee);
  std::vector<std::uint16_t> wide_scales(rows * scale_stride, 0xeeee);
  std::vector<std::uint8_t> scales(rows * scale_stride, 0xee);
  std::vector<double> values(rows * value_stride, -77);
  const bool two_bytes = description.scale_bytes() == 2;
  const FeedbackOutput out{
      codes.data(),
      static_cast<std::int64_t>(code_stride),
      two_bytes ? static_cast<void*>(wide_scales.data()) : scales.data(),
      static_cast<std::int64_t>(scale_stride),
      values.data(),
      static_cast<std::int64_t>(value_stride)};
  const FeedbackKernels& kernels = *kernels_for(isa).feedback;
  std::vector<double> scratch(static_cast<std::size_t>(
      kernels.scratch(static_cast<std::int64_t>(width))));
  fault = kernels.quantize(
      format, rule, unit, wide_x.data(), static_cast<std::int64_t>(rows),
      static_cast<std::int64_t>(width), static_cast<std::int64_t>(x_stride),
      lower.data(), out, scratch.data());
  Result result;
  for (std::size_t r = 0; r < rows; ++r) {
    std::vector<std::uint8_t> row(width);
    unpack_codes(codes.data() + r * code_stride,
                 static_cast<std::int64_t>(width), row.data());
    result.codes.insert(result.codes.end(), row.begin(), row.end());
    for (std::size_t g = 0; g < groups; ++g) {
      result.scales.push_back(two_bytes ? wide_scales[r * scale_stride + g]
                                        : scales[r * scale_stride + g]);
    }
    const double* first = values.data() + r * value_stride;
    result.values.insert(result.values.end(), first, first + width);
    EXPECT_EQ(first[width], -77);
    EXPECT_EQ(codes[r * code_stride + width / 2], 0xee);
    EXPECT_EQ(two_bytes ? wide_scales[r * scale_stride + groups]
                        : scales[r * scale_stride + groups],
              two_bytes ? 0xeeee : 0xee);
  }
  return result;
}

// Unit diagonal; above it NaN, which must not be read.
std::vector<double> random_lower(std::size_t width, double size) {
  std::mt19937_64 random(23);
  std::normal_distribution<double> normal(0, size);
  std::vector<double> lower(width * width, std::nan(""));
  for (std::size_t i = 0; i < width; ++i) {
    for (std::size_t j = 0; j < i; ++j) lower[i * width + j] = normal(random);
    lower[i * width + i] = 1;
  }
  return lower;
}

using Case = std::tuple<Isa, Format, ScaleRule>;

class QuantizeFeedback : public ::testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeFeedback,
    ::testing::Combine(::testing::ValuesIn(testing::kIsas),
                       ::testing::ValuesIn(testing::kFormats),
                       ::testing::ValuesIn(testing::kRules)),
    [](const ::testing::TestParamInfo<Case>& instance) {
      return testing::test_name(isa_name(std::get<Isa>(instance.param))) + "_" +
             testing::test_name(std::get<Format>(instance.param)) + "_" +
             testing::test_name(std::get<ScaleRule>(instance.param));
    });

void expect_equal(const Result& found, const Result& expected) {
  EXPECT_EQ(found.scales, expected.scales);
  EXPECT_EQ(found.codes, expected.codes);
  EXPECT_EQ(found.values, expected.values);
}

TEST_P(QuantizeFeedback, EqualsTheNaiveRecursion) {
  const auto& [isa, format, rule] = GetParam();
  WUSH_REQUIRE_ISA(isa);
  for (const std::size_t width : {32u, 64u, 96u, 128u}) {
    const auto lower = random_lower(width, 0.1);
    for (const std::size_t rows : {1u, 7u, 33u, 64u}) {
      for (const auto family :
           {testing::Family::kNormal, testing::Family::kSparse}) {
        const auto x = testing::draw_groups<double>(
            family, static_cast<int>(rows), static_cast<int>(width), rows);
        std::int64_t fault;
        const Result found =
            run(isa, format, rule, kFormatUnit, x, rows, width, lower, fault);
        ASSERT_EQ(fault, kAllFinite);
        expect_equal(found,
                     naive(format, rule, kFormatUnit, x, rows, width, lower));
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(QuantizeFeedback, WithoutFeedbackIsQuantizing) {
  const auto& [isa, format, rule] = GetParam();
  WUSH_REQUIRE_ISA(isa);
  constexpr std::size_t kRows = 37, kWidth = 64;
  const std::vector<double> lower(kWidth * kWidth, 0);
  auto x = testing::draw_groups<double>(testing::Family::kCornerMix, kRows,
                                        kWidth, 3);
  for (double& value : x) value += 0.0;  // feedback of 0 turns -0 into 0
  std::int64_t fault;
  const Result found =
      run(isa, format, rule, kFormatUnit, x, kRows, kWidth, lower, fault);
  std::vector<std::uint8_t> packed(kRows * kWidth / 2), codes(kRows * kWidth);
  const auto groups =
      kRows * kWidth /
      static_cast<std::size_t>(numerics::describe(format).group);
  std::vector<std::uint16_t> scales(groups);
  std::vector<double> values(kRows * kWidth);
  ASSERT_EQ(quantize_rows(format, rule, kFormatUnit, x.data(), kRows, kWidth,
                          kWidth, packed.data(), scales.data()),
            fault);
  if (fault != kAllFinite) return;
  dequantize_rows(format, kFormatUnit, packed.data(), scales.data(), kRows,
                  kWidth, kWidth, values.data());
  unpack_codes(packed.data(), kRows * kWidth, codes.data());
  EXPECT_EQ(found.codes, codes);
  EXPECT_EQ(found.values, values);
}

TEST_P(QuantizeFeedback, NamesWhereAValueIsNotFinite) {
  const auto& [isa, format, rule] = GetParam();
  WUSH_REQUIRE_ISA(isa);
  constexpr std::size_t kRows = 35, kWidth = 64;
  auto lower = random_lower(kWidth, 0.1);
  auto x =
      testing::draw_groups<double>(testing::Family::kNormal, kRows, kWidth, 3);
  std::int64_t fault;
  for (const double bad : {std::nan(""), -HUGE_VAL}) {
    for (const std::size_t i : {0u, 31u, 32u, 63u, 34u * 64u + 50u}) {
      const double good = std::exchange(x[i], bad);
      run(isa, format, rule, kFormatUnit, x, kRows, kWidth, lower, fault);
      EXPECT_EQ(fault, static_cast<std::int64_t>(i));
      x[i] = good;
    }
  }
  // Feedback that overflows: column 40 gets infinity from the columns before.
  lower[40 * kWidth + 33] = 1e308;
  for (std::size_t r = 0; r < kRows; ++r)
    x[r * kWidth + 33] = 1e5 + 0.1 * static_cast<double>(r);
  run(isa, format, rule, kFormatUnit, x, kRows, kWidth, lower, fault);
  EXPECT_EQ(fault % static_cast<std::int64_t>(kWidth), 40);
}

TEST(QuantizeWithFeedback, UsesTheBestInstructionSet) {
  constexpr std::size_t kRows = 20, kWidth = 32;
  const auto lower = random_lower(kWidth, 0.2);
  const auto x =
      testing::draw_groups<double>(testing::Family::kNormal, kRows, kWidth, 9);
  const Result expected =
      naive(Format::kNvfp4, ScaleRule::kMse2, 0.01f, x, kRows, kWidth, lower);
  std::vector<std::uint8_t> codes(kRows * kWidth / 2), scales(kRows * 2);
  std::vector<double> values(kRows * kWidth);
  ASSERT_EQ(
      quantize_with_feedback(
          Format::kNvfp4, ScaleRule::kMse2, 0.01f, x.data(), kRows, kWidth,
          kWidth, lower.data(),
          {codes.data(), kWidth / 2, scales.data(), 2, values.data(), kWidth}),
      kAllFinite);
  EXPECT_EQ(values, expected.values);
}

}  // namespace
}  // namespace wush::kernels
