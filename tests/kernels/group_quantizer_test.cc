// The scalar specification of the block formats against the tables and the
// arithmetic of the contract, written here a second time without sharing code:
// scales and elements by searching lists of values, products in long double and
// rounded once.
#include "kernels/numerics/group_quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "tests/kernels/quantize_inputs.h"

namespace wush::numerics {
namespace {

using kernels::testing::Family;

// Index of the value nearest to v in an ascending list; ties to the even index.
int nearest(const std::vector<long double>& values, long double v) {
  const auto above = std::lower_bound(values.begin(), values.end(), v);
  if (above == values.begin()) return 0;
  const int high = static_cast<int>(above - values.begin());
  if (above == values.end()) return high - 1;
  const long double up = *above - v, down = v - *(above - 1);
  if (up == down) return high % 2 == 0 ? high : high - 1;
  return up < down ? high : high - 1;
}

const std::vector<long double>& e2m1_values() {
  static const std::vector<long double> values = {0, 0.5L, 1, 1.5L, 2, 3, 4, 6};
  return values;
}

const std::vector<long double>& e4m3_values() {
  static const std::vector<long double> values = [] {
    std::vector<long double> list;
    for (int code = 0; code < 0x7f; ++code) {
      const int exponent = code / 8, mantissa = code % 8;
      list.push_back(exponent == 0
                         ? std::ldexp(mantissa / 8.0L, -6)
                         : std::ldexp(1 + mantissa / 8.0L, exponent - 7));
    }
    return list;
  }();
  return values;
}

int e2m1_code(long double v) {
  return nearest(e2m1_values(), std::fabs(v)) + (std::signbit(v) ? 8 : 0);
}

// floor(log2 x) and whether x / 2^that is at least 1.5.
std::pair<int, bool> exponent_of(long double x) {
  int exponent;
  const long double fraction = std::frexp(x, &exponent);
  return {exponent - 1, fraction >= 0.75L};
}

struct Expected {
  int scale = 0;
  std::vector<int> codes;
};

template <class P>
long double amax_of(const P* x, int group) {
  P amax = 0;
  for (int i = 0; i < group; ++i) amax = std::max(amax, std::fabs(x[i]));
  return static_cast<long double>(amax);
}

template <class P>
Expected expected_power_of_two(const P* x, bool ocp) {
  Expected out;
  const long double amax = amax_of(x, 32);
  if (amax == 0) return {0, std::vector<int>(32, 0)};
  int k;
  if (ocp) {
    k = exponent_of(amax).first - 2;
  } else {
    const P t = static_cast<P>(amax * 0.75L);
    const auto [exponent, up] = t > 0 ? exponent_of(static_cast<long double>(t))
                                      : std::pair(-200, false);
    k = exponent + (up ? 1 : 0);
  }
  k = std::clamp(k, -127, 127);
  out.scale = k + 127;
  for (int i = 0; i < 32; ++i) {
    const P v = static_cast<P>(std::ldexp((ocp ? 1.0L : 3.0L) * x[i], -k));
    out.codes.push_back(e2m1_code(static_cast<long double>(v)));
  }
  return out;
}

template <class P>
Expected expected_nvfp4(const P* x) {
  Expected out;
  const P t = static_cast<P>(amax_of(x, 16)) * static_cast<P>(5.0L / 3);
  out.scale = nearest(e4m3_values(), static_cast<long double>(t));
  const P s =
      static_cast<P>(e4m3_values()[static_cast<std::size_t>(out.scale)]);
  for (int i = 0; i < 16; ++i) {
    const P v = s == 0 ? P(0) : x[i] * (P(10) / s);
    out.codes.push_back(s == 0 ? 0 : e2m1_code(static_cast<long double>(v)));
  }
  return out;
}

using Case = std::tuple<Format, Family>;

class GroupQuantizerSpecification : public ::testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    All, GroupQuantizerSpecification,
    ::testing::Combine(::testing::ValuesIn(kernels::testing::kFormats),
                       ::testing::ValuesIn(kernels::testing::kFamilies)),
    [](const ::testing::TestParamInfo<Case>& instance) {
      return kernels::testing::test_name(std::get<Format>(instance.param)) +
             "_" +
             kernels::testing::family_name(std::get<Family>(instance.param));
    });

// int4: the step within one unit in the last place of bfloat16 of the root mean
// square in long double (sums in P are within 2^-20 of it, which can only
// decide a rounding), and the codes by the definition from that step.
template <class P>
void expect_int4(const P* x) {
  const GroupQuantizer<Format::kInt4, P> quantizer;
  std::uint8_t codes[32];
  const std::uint16_t scale = quantizer.quantize(x, ScaleRule::kAbsMax, codes);
  long double squares = 0;
  for (int i = 0; i < 32; ++i) squares += static_cast<long double>(x[i]) * x[i];
  const long double rms = std::sqrt(squares / 32);
  const bool in_range = rms < 1e15L && rms > 1e-15L;
  if (sizeof(P) == 4 && !in_range) return;  // squares leave float32
  if (rms > 0.9e38L) return;
  const long double ideal = rms * 2.513930578568423L * 2 / 15;
  const auto bits = bfloat16_encode(static_cast<double>(ideal));
  ASSERT_LE(std::abs(int{bits} - int{scale}), 1);
  const P step = static_cast<P>(bfloat16_decode(scale));
  for (int i = 0; i < 32; ++i) {
    const P inverse = step == 0 ? P(0) : P(1) / step;
    const long double c = std::floor(static_cast<long double>(x[i] * inverse));
    const int clamped = step == 0 || std::isinf(inverse)
                            ? 0
                            : static_cast<int>(std::clamp(c, -8.0L, 7.0L));
    ASSERT_EQ(codes[i], clamped & 15);
  }
}

template <Format F, class P>
void expect_group(const P* x) {
  if constexpr (F == Format::kInt4) {
    expect_int4(x);
  } else {
    const Expected expected =
        F == Format::kNvfp4 ? expected_nvfp4(x)
                            : expected_power_of_two(x, F == Format::kMxfp4Ocp);
    const GroupQuantizer<F, P> quantizer;
    std::uint8_t codes[GroupQuantizer<F, P>::kGroup];
    const int scale = quantizer.quantize(x, ScaleRule::kAbsMax, codes);
    ASSERT_EQ(scale, expected.scale);
    ASSERT_EQ(std::vector<int>(std::begin(codes), std::end(codes)),
              expected.codes);
  }
}

TEST_P(GroupQuantizerSpecification, AbsmaxFollowsTheContract) {
  const auto& [format, family] = GetParam();
  dispatch_format(format, [family = family]<Format F>() {
    constexpr int kGroup = describe(F).group;
    const auto floats =
        kernels::testing::draw_groups<float>(family, 500, kGroup, 1);
    const auto doubles =
        kernels::testing::draw_groups<double>(family, 500, kGroup, 2);
    for (std::size_t g = 0; g < 500; ++g) {
      expect_group<F>(floats.data() + g * kGroup);
      expect_group<F>(doubles.data() + g * kGroup);
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}

template <Format F, class P>
long double exact_error(const GroupQuantizer<F, P>& quantizer, const P* x,
                        std::uint16_t scale) {
  const auto m = quantizer.encode_multiplier(scale);
  long double sum = 0;
  for (int i = 0; i < quantizer.kGroup; ++i) {
    const P decoded = quantizer.element(quantizer.encode(x[i], m)) *
                      quantizer.decode_multiplier(scale);
    const long double error = static_cast<long double>(decoded) - x[i];
    sum += error * error;
  }
  return sum;
}

// The scales a rule may choose from, as the contract lists them, the absmax one
// first.
template <Format F, class P>
std::vector<int> candidates_of(ScaleRule rule, int base, double amax) {
  std::vector<int> list = {base};
  const bool search = rule == ScaleRule::kSearch;
  if (rule == ScaleRule::kAbsMax) return list;
  if (F == Format::kNvfp4) {
    if (!search) list.push_back(nearest(e4m3_values(), amax / (4 * 0.1)));
    for (int i = -5; search && i <= 5; ++i) {
      if (i != 0 && base + i >= 0 && base + i <= 126) list.push_back(base + i);
    }
  } else if (F == Format::kInt4) {
    for (const double factor :
         search ? std::vector<double>{0.7, 0.8, 0.9, 1.1, 1.2}
                : std::vector<double>{0.85}) {
      const P step =
          static_cast<P>(bfloat16_decode(static_cast<std::uint16_t>(base)));
      list.push_back(bfloat16_encode(step * static_cast<P>(factor)));
    }
  } else {
    for (const int step :
         search ? std::vector<int>{-2, -1, 1} : std::vector<int>{-1}) {
      list.push_back(base + step);
    }
  }
  return list;
}

// Sums in P of 32 terms, each rounded a few times: relative error below
// 40 units in the last place, so the choice is the best up to that.
template <Format F, class P>
void expect_best_candidate(ScaleRule rule) {
  const double slack =
      80 * static_cast<double>(std::numeric_limits<P>::epsilon());
  const GroupQuantizer<F, P> quantizer;
  constexpr int kGroup = GroupQuantizer<F, P>::kGroup;
  const auto x =
      kernels::testing::draw_groups<P>(Family::kNormal, 2000, kGroup, 3);
  int other_than_absmax = 0;
  for (std::size_t g = 0; g < 2000; ++g) {
    const P* group = x.data() + g * kGroup;
    const int base = quantizer.choose_scale(group, ScaleRule::kAbsMax);
    const int chosen = quantizer.choose_scale(group, rule);
    const auto candidates = candidates_of<F, P>(
        rule, base, static_cast<double>(amax_of(group, kGroup)));
    ASSERT_THAT(candidates, ::testing::Contains(chosen));
    const auto error =
        exact_error<F, P>(quantizer, group, static_cast<std::uint16_t>(chosen));
    for (const int scale : candidates) {
      const auto other = exact_error<F, P>(quantizer, group,
                                           static_cast<std::uint16_t>(scale));
      ASSERT_LE(error, (1 + slack) * other);
    }
    other_than_absmax += chosen != base ? 1 : 0;
  }
  // (mxfp4-ocp clips already: half its scale is never better on Gaussians.)
  if (rule != ScaleRule::kAbsMax &&
      !(F == Format::kMxfp4Ocp && rule == ScaleRule::kMse2)) {
    EXPECT_GT(other_than_absmax, 100);
  }
}

class ScaleRules
    : public ::testing::TestWithParam<std::tuple<Format, ScaleRule>> {};

INSTANTIATE_TEST_SUITE_P(
    All, ScaleRules,
    ::testing::Combine(::testing::ValuesIn(kernels::testing::kFormats),
                       ::testing::ValuesIn(kernels::testing::kRules)),
    [](const auto& instance) {
      return kernels::testing::test_name(std::get<0>(instance.param)) + "_" +
             kernels::testing::test_name(std::get<1>(instance.param));
    });

TEST_P(ScaleRules, ChooseTheCandidateWithTheSmallestError) {
  const auto& [format, rule] = GetParam();
  dispatch_format(format, [rule = rule]<Format F>() {
    expect_best_candidate<F, float>(rule);
    if (::testing::Test::HasFatalFailure()) return;
    expect_best_candidate<F, double>(rule);
  });
}

TEST_P(ScaleRules, ZerosGiveZeroBytes) {
  const auto& [format, rule] = GetParam();
  dispatch_format(format, [rule = rule]<Format F>() {
    constexpr int kGroup = describe(F).group;
    for (const float zero : {0.0f, -0.0f}) {
      const std::vector<float> x(kGroup, zero);
      std::vector<std::uint8_t> codes(kGroup, 99);
      const GroupQuantizer<F, float> quantizer;
      EXPECT_EQ(quantizer.quantize(x.data(), rule, codes.data()), 0);
      for (const std::uint8_t code : codes) {
        EXPECT_EQ(code, 0);
        EXPECT_EQ(quantizer.element(code) * quantizer.decode_multiplier(0),
                  0.0f);
      }
    }
  });
}

// Values that the absmax scale and half of it both hold exactly: the first
// wins.
TEST(ScaleRule, TheFirstCandidateWinsTies) {
  const GroupQuantizer<Format::kMxfp4Ocp, float> quantizer;
  std::vector<float> x(32, 0.5f);
  x[3] = -1;
  const auto base = quantizer.choose_scale(x.data(), ScaleRule::kAbsMax);
  EXPECT_EQ(quantizer.squared_error(x.data(), base), 0);
  EXPECT_EQ(quantizer.squared_error(x.data(), base + 1), 0);
  EXPECT_EQ(quantizer.choose_scale(x.data(), ScaleRule::kSearch), base);
}

// mxfp4: the largest magnitude a group can hold is the smallest power of two
// above amax (so nothing clips).
TEST(Mxfp4, HoldsUpToThePowerOfTwoAboveAmax) {
  const GroupQuantizer<Format::kMxfp4, double> quantizer;
  std::vector<double> x(32, 0);
  for (int e = -120; e <= 120; ++e) {
    for (const double m : {1.0, 1.0 + 1e-15, 1.3, 1.5, 1.9, 2 - 1e-15}) {
      x[7] = -std::ldexp(m, e);
      const auto scale = quantizer.choose_scale(x.data(), ScaleRule::kAbsMax);
      EXPECT_EQ(6 * quantizer.decode_multiplier(scale), std::ldexp(1.0, e + 1));
    }
  }
}

// nvfp4 with a tensor's own constant: the largest magnitude gets scale 448.
TEST(Nvfp4, AmaxUnitTakesTheLargestMagnitudeToTheLargestScale) {
  for (const float amax : {1.0f, 0.37f, 1e-20f, 3e30f}) {
    const float unit = amax_unit(Format::kNvfp4, amax);
    ASSERT_TRUE(is_valid_unit(Format::kNvfp4, unit));
    const GroupQuantizer<Format::kNvfp4, float> quantizer{
        tensor_unit<float>(unit)};
    std::vector<float> x(16, 0);
    x[5] = amax;
    std::uint8_t codes[16];
    const auto scale = quantizer.quantize(x.data(), ScaleRule::kAbsMax, codes);
    EXPECT_EQ(scale, kE4m3MaxCode);
    EXPECT_EQ(codes[5], 7);
    // Two rounded products and a rounded quotient.
    EXPECT_NEAR(quantizer.element(7) * quantizer.decode_multiplier(scale), amax,
                2e-7 * amax);
  }
  EXPECT_EQ(amax_unit(Format::kNvfp4, 0), 0.1f);
  EXPECT_EQ(amax_unit(Format::kNvfp4, 1e-40f), kMinTensorUnit);
}

// The contract's constants, each rounded once to the precision in use.
TEST(Constants, AreThoseOfTheContract) {
  EXPECT_EQ((fixed_unit<Format::kMxfp4, float>().value), 1.0f / 3);
  EXPECT_EQ((fixed_unit<Format::kMxfp4, double>().value), 1.0 / 3);
  EXPECT_EQ((fixed_unit<Format::kMxfp4, double>().inverse), 3.0);
  EXPECT_EQ((fixed_unit<Format::kNvfp4, float>().value), 0.1f);
  EXPECT_EQ((fixed_unit<Format::kNvfp4, double>().inverse), 10.0);
  EXPECT_EQ(10.0f / 6, 5.0f / 3);
  EXPECT_EQ(10.0 / 6, 5.0 / 3);
  EXPECT_EQ(static_cast<float>(1 / describe(Format::kInt4).target),
            static_cast<float>(2.513930578568423 * 2 / 15));
}

}  // namespace
}  // namespace wush::numerics
