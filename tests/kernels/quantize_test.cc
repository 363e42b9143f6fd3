// Vectorised quantizing and decoding, each instruction set, bit for bit against
// the scalar specification.
#include "kernels/cpu/quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "kernels/cpu/simd/kernels.h"
#include "kernels/numerics/group_quantizer.h"
#include "tests/kernels/quantize_inputs.h"

namespace wush::kernels {
namespace {

using numerics::GroupQuantizer;
using numerics::kFormatUnit;
using testing::Family;

struct Packed {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
};

// The specification, group after group. `fault` is what quantize_rows returns.
template <class P>
Packed specified(Format format, ScaleRule rule, float unit, const P* x,
                 std::int64_t rows, std::int64_t cols, std::int64_t stride,
                 std::int64_t& fault) {
  Packed out;
  fault = kAllFinite;
  numerics::dispatch_format(format, [&]<Format F>() {
    const GroupQuantizer<F, P> quantizer{numerics::resolve_unit<F, P>(unit)};
    constexpr int kGroup = GroupQuantizer<F, P>::kGroup;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; c += kGroup) {
        std::uint8_t codes[kGroup];
        const std::uint16_t scale =
            quantizer.quantize(x + r * stride + c, rule, codes);
        if (F == Format::kInt4 && (scale & 0x7f80) == 0x7f80) {
          fault = r * cols + c;
          return;
        }
        out.scales.push_back(scale);
        std::uint8_t packed[kGroup / 2];
        pack_codes(codes, kGroup, packed);
        out.codes.insert(out.codes.end(), packed, packed + kGroup / 2);
      }
    }
  });
  return out;
}

std::int64_t run(const QuantizeKernels& kernels, Format format, ScaleRule rule,
                 float unit, const float* x, std::int64_t rows,
                 std::int64_t cols, std::int64_t stride, std::uint8_t* codes,
                 void* scales) {
  return kernels.quantize_float(format, rule, unit, x, rows, cols, stride,
                                codes, scales);
}
std::int64_t run(const QuantizeKernels& kernels, Format format, ScaleRule rule,
                 float unit, const double* x, std::int64_t rows,
                 std::int64_t cols, std::int64_t stride, std::uint8_t* codes,
                 void* scales) {
  return kernels.quantize_double(format, rule, unit, x, rows, cols, stride,
                                 codes, scales);
}

template <class P>
Packed vectorised(const QuantizeKernels& kernels, Format format, ScaleRule rule,
                  float unit, const P* x, std::int64_t rows, std::int64_t cols,
                  std::int64_t stride, std::int64_t& fault) {
  const auto& description = numerics::describe(format);
  const auto groups = static_cast<std::size_t>(rows * cols / description.group);
  Packed out;
  out.codes.resize(static_cast<std::size_t>(rows * cols / 2));
  out.scales.resize(groups);
  std::vector<std::uint8_t> bytes(groups);
  const bool wide = description.scale_bytes() == 2;
  fault =
      run(kernels, format, rule, unit, x, rows, cols, stride, out.codes.data(),
          wide ? static_cast<void*>(out.scales.data()) : bytes.data());
  if (!wide) out.scales.assign(bytes.begin(), bytes.end());
  return out;
}

using Case = std::tuple<Isa, Format, ScaleRule>;

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  const auto& [isa, format, rule] = info.param;
  return testing::test_name(isa_name(isa)) + "_" + testing::test_name(format) +
         "_" + testing::test_name(rule);
}

class QuantizeRows : public ::testing::TestWithParam<Case> {
 protected:
  // Every family of inputs, every odd and even number of groups in a row.
  template <class P>
  void expect_specified(float unit) {
    for (const Family family : testing::kFamilies) {
      for (const int groups_per_row : {1, 3, 5, 8}) {
        SCOPED_TRACE(testing::family_name(family) +
                     ", groups in a row: " + std::to_string(groups_per_row));
        expect_family_specified<P>(unit, family, groups_per_row);
        if (HasFatalFailure()) return;
      }
    }
  }

 private:
  template <class P>
  void expect_family_specified(float unit, Family family, int groups_per_row) {
    const auto& [isa, format, rule] = GetParam();
    const int group = numerics::describe(format).group;
    const int rows = 40 / groups_per_row;
    const std::int64_t cols = groups_per_row * group;
    const std::int64_t stride = cols + 3;
    auto x =
        testing::draw_groups<P>(family, rows * groups_per_row + 1, group,
                                static_cast<std::uint64_t>(groups_per_row));
    x.resize(static_cast<std::size_t>(rows * stride), P(1));
    std::int64_t fault, expected_fault;
    const Packed expected = specified<P>(format, rule, unit, x.data(), rows,
                                         cols, stride, expected_fault);
    Packed found = vectorised<P>(*kernels_for(isa).quantize, format, rule, unit,
                                 x.data(), rows, cols, stride, fault);
    ASSERT_EQ(fault, expected_fault);
    // Up to a fault, all groups before it.
    found.codes.resize(expected.codes.size());
    found.scales.resize(expected.scales.size());
    ASSERT_EQ(found.scales, expected.scales);
    ASSERT_EQ(found.codes, expected.codes);
  }
};

TEST_P(QuantizeRows, FloatEqualsSpecification) {
  WUSH_REQUIRE_ISA(std::get<Isa>(GetParam()));
  expect_specified<float>(kFormatUnit);
}

TEST_P(QuantizeRows, DoubleEqualsSpecification) {
  WUSH_REQUIRE_ISA(std::get<Isa>(GetParam()));
  expect_specified<double>(kFormatUnit);
}

// Formats whose unit may be chosen per tensor.
class QuantizeRowsWithTensorUnit : public QuantizeRows {};

TEST_P(QuantizeRowsWithTensorUnit, EqualsSpecification) {
  WUSH_REQUIRE_ISA(std::get<Isa>(GetParam()));
  for (const float unit : {numerics::kMinTensorUnit, 1e-3f, 0.37f, 1e30f}) {
    expect_specified<float>(unit);
    expect_specified<double>(unit);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeRowsWithTensorUnit,
    ::testing::Combine(::testing::ValuesIn(testing::kIsas),
                       ::testing::Values(Format::kNvfp4),
                       ::testing::ValuesIn(testing::kRules)),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeRows,
    ::testing::Combine(::testing::ValuesIn(testing::kIsas),
                       ::testing::ValuesIn(testing::kFormats),
                       ::testing::ValuesIn(testing::kRules)),
    case_name);

using FormatCase = std::tuple<Isa, Format>;

std::string format_case_name(const ::testing::TestParamInfo<FormatCase>& info) {
  return testing::test_name(isa_name(std::get<Isa>(info.param))) + "_" +
         testing::test_name(std::get<Format>(info.param));
}

class QuantizeFormat : public ::testing::TestWithParam<FormatCase> {};

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeFormat,
    ::testing::Combine(::testing::ValuesIn(testing::kIsas),
                       ::testing::ValuesIn(testing::kFormats)),
    format_case_name);

// At every position of three groups, in the second row.
template <class P>
void expect_faults_found(Isa isa, Format format) {
  const int group = numerics::describe(format).group;
  const std::int64_t cols = 3 * group;
  auto x = testing::draw_groups<P>(Family::kNormal, 6, group, 7);
  for (const P bad : {std::numeric_limits<P>::quiet_NaN(),
                      -std::numeric_limits<P>::quiet_NaN(),
                      std::numeric_limits<P>::infinity(),
                      -std::numeric_limits<P>::infinity()}) {
    for (std::int64_t i = cols; i < 2 * cols; ++i) {
      const P good = std::exchange(x[static_cast<std::size_t>(i)], bad);
      for (const ScaleRule rule : testing::kRules) {
        std::int64_t fault;
        vectorised<P>(*kernels_for(isa).quantize, format, rule, kFormatUnit,
                      x.data(), 2, cols, cols, fault);
        ASSERT_EQ(fault, i);
      }
      x[static_cast<std::size_t>(i)] = good;
    }
  }
}

TEST_P(QuantizeFormat, FirstValueThatIsNotFiniteIsNamed) {
  const auto& [isa, format] = GetParam();
  WUSH_REQUIRE_ISA(isa);
  expect_faults_found<float>(isa, format);
  expect_faults_found<double>(isa, format);
}

// A whole row of decoded values: element times the decode multiplier.
template <class P>
void expect_decoded(Isa isa, Format format, float unit) {
  numerics::dispatch_format(format, [&]<Format F>() {
    using Q = GroupQuantizer<F, P>;
    const Q quantizer{numerics::resolve_unit<F, P>(unit)};
    std::mt19937_64 random(11);
    constexpr int kGroups = 256 * 3;
    constexpr int kCols = kGroups / 3 * Q::kGroup;
    std::vector<std::uint8_t> codes(kGroups * Q::kGroup);
    for (auto& code : codes) code = random() & 15;
    std::vector<std::uint8_t> packed(codes.size() / 2);
    pack_codes(codes.data(), static_cast<std::int64_t>(codes.size()),
               packed.data());
    std::vector<std::uint16_t> scales(kGroups);
    for (int g = 0; g < kGroups; ++g) {
      scales[static_cast<std::size_t>(g)] = static_cast<std::uint16_t>(
          Q::kFormat.scale_bytes() == 2 ? random() % 0x7f80 : g % 255);
    }
    std::vector<std::uint8_t> bytes(scales.begin(), scales.end());
    const void* stored = Q::kFormat.scale_bytes() == 2
                             ? static_cast<const void*>(scales.data())
                             : bytes.data();
    const std::int64_t stride = kCols + 5;
    std::vector<P> out(static_cast<std::size_t>(3 * stride), P(-77));
    const auto& kernels = *kernels_for(isa).quantize;
    if constexpr (sizeof(P) == 4) {
      kernels.dequantize_float(format, unit, packed.data(), stored, 3, kCols,
                               stride, out.data());
    } else {
      kernels.dequantize_double(format, unit, packed.data(), stored, 3, kCols,
                                stride, out.data());
    }
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < static_cast<std::size_t>(stride); ++c) {
        const P found = out[r * static_cast<std::size_t>(stride) + c];
        if (c >= kCols) {
          ASSERT_EQ(found, P(-77));
          continue;
        }
        const std::size_t i = r * kCols + c;
        const std::uint16_t scale = scales[i / Q::kGroup];
        const P expected =
            Q::element(codes[i]) * quantizer.decode_multiplier(scale);
        ASSERT_EQ(numerics::to_bits(found) << 1 >> 1,
                  numerics::to_bits(expected) << 1 >> 1);
        if (!std::isnan(expected)) {
          ASSERT_EQ(std::signbit(found), std::signbit(expected));
        }
      }
    }
  });
}

TEST_P(QuantizeFormat, DecodingEqualsSpecification) {
  const auto& [isa, format] = GetParam();
  WUSH_REQUIRE_ISA(isa);
  expect_decoded<float>(isa, format, kFormatUnit);
  expect_decoded<double>(isa, format, kFormatUnit);
  if (numerics::describe(format).global_scale) {
    expect_decoded<float>(isa, format, 0.0123f);
    expect_decoded<double>(isa, format, 0.0123f);
  }
}

class QuantizeE2m1 : public QuantizeFormat {};

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeE2m1,
    ::testing::Combine(::testing::ValuesIn(testing::kIsas),
                       ::testing::Values(Format::kMxfp4, Format::kNvfp4,
                                         Format::kMxfp4Ocp)),
    format_case_name);

// Quantizing decoded values again changes nothing when every group holds an
// element that its scale was made for: +6, or +4 for mxfp4 (its +6 decodes to a
// power of two, and what a scale holds at most is the next one above amax).
TEST_P(QuantizeE2m1, DecodedValuesQuantizeToThemselves) {
  const auto& [isa, format] = GetParam();
  WUSH_REQUIRE_ISA(isa);
  const unsigned largest = format == Format::kMxfp4 ? 6 : 7;
  const int group = numerics::describe(format).group;
  constexpr int kGroups = 64;
  std::mt19937_64 random(5);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(kGroups * group));
  for (auto& code : codes) {
    code = static_cast<std::uint8_t>(random() % (largest + 1) | (random() & 8));
  }
  for (int g = 0; g < kGroups; ++g) {
    codes[static_cast<std::size_t>(g * group + g % group)] =
        static_cast<std::uint8_t>(largest);
  }
  std::vector<std::uint8_t> packed(codes.size() / 2), again(codes.size() / 2);
  pack_codes(codes.data(), static_cast<std::int64_t>(codes.size()),
             packed.data());
  std::vector<std::uint8_t> scales(kGroups), scales_again(kGroups);
  for (auto& s : scales) s = static_cast<std::uint8_t>(60 + random() % 60);
  std::vector<float> values(codes.size());
  const auto& kernels = *kernels_for(isa).quantize;
  const std::int64_t cols = kGroups * group;
  kernels.dequantize_float(format, kFormatUnit, packed.data(), scales.data(), 1,
                           cols, cols, values.data());
  ASSERT_EQ(kernels.quantize_float(format, ScaleRule::kAbsMax, kFormatUnit,
                                   values.data(), 1, cols, cols, again.data(),
                                   scales_again.data()),
            kAllFinite);
  EXPECT_EQ(scales_again, scales);
  EXPECT_EQ(again, packed);
}

TEST(Pack, EvenColumnGoesToTheLowNibble) {
  std::vector<std::uint8_t> codes, packed(128), unpacked(256);
  for (int i = 0; i < 256; ++i) {
    codes.push_back(
        static_cast<std::uint8_t>(i % 2 == 0 ? i / 2 % 16 : i / 32));
  }
  pack_codes(codes.data(), 256, packed.data());
  for (std::size_t i = 0; i < 128; ++i) {
    EXPECT_EQ(packed[i], codes[2 * i] + 16 * codes[2 * i + 1]);
  }
  unpack_codes(packed.data(), 256, unpacked.data());
  EXPECT_EQ(unpacked, codes);
}

TEST(QuantizeArguments, AreChecked) {
  const std::vector<float> x(64, 1);
  std::uint8_t codes[32], scales[8];
  const auto quantize = [&](Format format, float unit, std::int64_t cols) {
    return quantize_rows(format, ScaleRule::kAbsMax, unit, x.data(), 1, cols,
                         64, codes, scales);
  };
  EXPECT_EQ(quantize(Format::kNvfp4, 0.5f, 48), kAllFinite);
  EXPECT_THROW(quantize(Format::kMxfp4, kFormatUnit, 48),
               std::invalid_argument);
  EXPECT_THROW(quantize(Format::kMxfp4, 0.5f, 64), std::invalid_argument);
  for (const float unit :
       {-1.0f, 1e-38f, std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THROW(quantize(Format::kNvfp4, unit, 64), std::invalid_argument);
  }
}

TEST(Isa, TheBestOneIsAvailable) {
  EXPECT_TRUE(isa_available(Isa::kPortable));
  EXPECT_TRUE(isa_available(best_isa()));
  EXPECT_EQ(&best_kernels(), &kernels_for(best_isa()));
}

}  // namespace
}  // namespace wush::kernels
