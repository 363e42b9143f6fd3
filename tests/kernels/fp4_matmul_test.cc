// The group-exact product against the product of decoded values in double.
#include "kernels/cpu/fp4_matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/numerics/group_quantizer.h"
#include "tests/kernels/quantize_inputs.h"

namespace wush::kernels {
namespace {

using numerics::kFormatUnit;

struct Operand {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;  // room for either width
  std::vector<double> decoded;
  std::int64_t rows;
  float unit;
  QuantizedMatrix view() const {
    return {codes.data(), scales.data(), rows, unit};
  }
};

Operand quantized(Format format, float unit, std::int64_t rows,
                  std::int64_t cols, std::uint64_t seed) {
  const auto x = testing::draw_groups<float>(testing::Family::kNormal,
                                             static_cast<int>(rows),
                                             static_cast<int>(cols), seed);
  const std::size_t size = x.size();
  Operand out{std::vector<std::uint8_t>(size / 2),
              std::vector<std::uint16_t>(size / 16), std::vector<double>(size),
              rows, unit};
  EXPECT_EQ(quantize_rows(format, ScaleRule::kAbsMax, unit, x.data(), rows,
                          cols, cols, out.codes.data(), out.scales.data()),
            kAllFinite);
  dequantize_rows(format, unit, out.codes.data(), out.scales.data(), rows, cols,
                  cols, out.decoded.data());
  return out;
}

class Fp4Matmul : public ::testing::TestWithParam<Format> {};

INSTANTIATE_TEST_SUITE_P(All, Fp4Matmul, ::testing::ValuesIn(testing::kFormats),
                         [](const auto& instance) {
                           return testing::test_name(instance.param);
                         });

// Each group's term is rounded at most twice (int4), the G sums once each, the
// final product and its constant once each.
TEST_P(Fp4Matmul, EqualsTheProductOfDecodedValues) {
  constexpr std::int64_t kCols = 96 * 2, kRowsA = 5, kRowsB = 7, kStride = 9;
  const int group = numerics::describe(GetParam()).group;
  for (const float unit : {kFormatUnit, 0.02f}) {
    if (!numerics::is_valid_unit(GetParam(), unit)) continue;
    const Operand a = quantized(GetParam(), unit, kRowsA, kCols, 1);
    const Operand b = quantized(GetParam(), kFormatUnit, kRowsB, kCols, 2);
    std::vector<float> y(kRowsA * kStride, -77);
    fp4_matmul(GetParam(), kCols, a.view(), b.view(), y.data(), kStride);
    for (std::int64_t m = 0; m < kRowsA; ++m) {
      for (std::int64_t n = 0; n < kRowsB; ++n) {
        double exact = 0, size = 0;
        for (std::int64_t k = 0; k < kCols; ++k) {
          const double term =
              a.decoded[static_cast<std::size_t>(m * kCols + k)] *
              b.decoded[static_cast<std::size_t>(n * kCols + k)];
          exact += term;
          size += std::fabs(term);
        }
        const double roundings = static_cast<double>(kCols / group) + 4;
        ASSERT_NEAR(y[static_cast<std::size_t>(m * kStride + n)], exact,
                    roundings * 0x1p-24 * size);
      }
      ASSERT_EQ(y[static_cast<std::size_t>(m * kStride + kRowsB)], -77);
    }
  }
}

// Groups are added in ascending order, in float: 2^24 + 1 - 2^24 is 0.
TEST(Fp4MatmulOrder, IsAscendingInFloat) {
  std::vector<std::uint8_t> a(48, 0), b(48, 0), scales_a(3, 127),
      scales_b(3, 127);
  for (const std::size_t group : {0u, 1u, 2u}) {
    a[16 * group] = 2;                    // 1
    b[16 * group] = group == 2 ? 10 : 2;  // -1 in the last
  }
  scales_a[0] = scales_a[2] = 127 + 24;
  float y = -1;
  const auto product = [&] {
    fp4_matmul(Format::kMxfp4Ocp, 96,
               {a.data(), scales_a.data(), 1, kFormatUnit},
               {b.data(), scales_b.data(), 1, kFormatUnit}, &y, 1);
    return y;
  };
  EXPECT_EQ(product(), 0);
  std::swap(scales_a[1], scales_a[2]);
  std::swap(b[16], b[32]);
  EXPECT_EQ(product(), 1);
}

// One group: an integer times powers of two, exact.
TEST(Fp4MatmulGroup, IsExact) {
  const Operand a = quantized(Format::kMxfp4Ocp, kFormatUnit, 8, 32, 3);
  const Operand b = quantized(Format::kMxfp4Ocp, kFormatUnit, 8, 32, 4);
  std::vector<float> y(64);
  fp4_matmul(Format::kMxfp4Ocp, 32, a.view(), b.view(), y.data(), 8);
  for (std::size_t m = 0; m < 8; ++m) {
    for (std::size_t n = 0; n < 8; ++n) {
      double exact = 0;
      for (std::size_t k = 0; k < 32; ++k) {
        exact += a.decoded[m * 32 + k] * b.decoded[n * 32 + k];
      }
      EXPECT_EQ(y[m * 8 + n], exact);
    }
  }
}

}  // namespace
}  // namespace wush::kernels
