// The cheap decision of rule mse2 against the specification: beyond its bound
// it must agree, for any group; the bound must hold for D itself, with the
// specification's float32 errors; and few groups may be left in doubt.
#include "kernels/numerics/mse2_decision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/numerics/group_quantizer.h"
#include "tests/kernels/quantize_inputs.h"

namespace wush::numerics {
namespace {

using kernels::testing::Family;

constexpr int kLaneValues = 8;

struct Decision {
  std::uint16_t base;
  int extra;
  float advantage;  // D
  float bound;

  bool certain() const { return std::fabs(advantage) > bound; }
  std::uint16_t scale() const {
    return advantage > 0 ? static_cast<std::uint16_t>(extra) : base;
  }
};

// A GPU's approximations may be an ulp off.
float nearby(float x) {
  const std::uint32_t bits = to_bits(x);
  return std::bit_cast<float>(bits + bits / 8 % 3 - 1);
}

// One lane's part of D, as the kernels call for it.
template <Format F>
float part(const GroupQuantizer<F, float>& quantizer,
           const float (&x)[kLaneValues], std::uint16_t base,
           std::uint16_t extra) {
  const float m = quantizer.encode_multiplier(base).second;
  const float extra_m = quantizer.encode_multiplier(extra).second;
  const float d = quantizer.decode_multiplier(extra);
  if constexpr (F == Format::kNvfp4) {
    float sums[2][kLaneValues];
    return Mse2E4m3::advantage(x, m, extra_m, d * m, sums);
  } else if constexpr (F == Format::kInt4) {
    return Mse2Step::advantage(x, nearby(m), nearby(extra_m), d * nearby(m));
  } else {
    return Mse2PowerOfTwo::doubled_advantage(x, m) / 2;
  }
}

// Adds up f of each lane's values.
template <int kGroup, class Part>
float add_lanes(const float* x, Part&& f) {
  float parts[kGroup / kLaneValues];
  for (int lane = 0; lane < kGroup / kLaneValues; ++lane) {
    float values[kLaneValues];
    std::copy_n(x + lane * kLaneValues, kLaneValues, values);
    parts[lane] = f(values);
  }
  return halving_sum<kGroup / kLaneValues>(parts);
}

// Whether the kernels find int4's absmax step without the specification's sum.
bool finds_step(const float* x, std::uint16_t base) {
  using Quantizer = GroupQuantizer<Format::kInt4, float>;
  const float sum = add_lanes<Quantizer::kGroup>(x, Mse2Step::squares);
  const float ideal = nearby(std::sqrt(sum / Quantizer::kGroup)) *
                      static_cast<float>(1 / (Quantizer::kFormat.unit *
                                              Quantizer::kFormat.target));
  if (!Mse2Step::rounds_surely(ideal)) return false;
  EXPECT_EQ(bfloat16_encode(ideal), base);
  return true;
}

template <Format F>
bool is_bounded(float unit, std::uint16_t base, int extra) {
  if (extra < 0) return false;
  if constexpr (F == Format::kNvfp4) {
    return Mse2E4m3::is_bounded_unit(unit) &&
           Mse2E4m3::is_bounded(base, static_cast<std::uint16_t>(extra));
  } else if constexpr (F == Format::kInt4) {
    return Mse2Step::is_bounded(base);
  } else {
    return Mse2PowerOfTwo::is_bounded(base);
  }
}

template <Format F>
constexpr float bound_of() {
  return F == Format::kNvfp4  ? Mse2E4m3::kBound
         : F == Format::kInt4 ? Mse2Step::kBound
                              : Mse2PowerOfTwo::kBound;
}

// Nothing where the scales are outside the range of the bound, or in doubt.
template <Format F>
std::optional<Decision> decide(const GroupQuantizer<F, float>& quantizer,
                               const float* x) {
  using Quantizer = GroupQuantizer<F, float>;
  const float statistic = Quantizer::statistic(x);
  if (statistic == 0) return std::nullopt;
  const std::uint16_t base = quantizer.absmax_scale(statistic);
  const int extra = quantizer.candidate(ScaleRule::kMse2, 0, statistic, base);
  if (!is_bounded<F>(quantizer.unit.value, base, extra)) return std::nullopt;
  if constexpr (F == Format::kInt4) {
    if (!finds_step(x, base)) return std::nullopt;
  }
  const float total =
      add_lanes<Quantizer::kGroup>(x, [&](const float(&values)[kLaneValues]) {
        return part<F>(quantizer, values, base,
                       static_cast<std::uint16_t>(extra));
      });
  return Decision{base, extra, total, bound_of<F>()};
}

// D of the specification's two errors.
template <Format F>
double specified_advantage(const GroupQuantizer<F, float>& quantizer,
                           const float* x, const Decision& decision) {
  const double d =
      static_cast<double>(quantizer.decode_multiplier(decision.base));
  return (static_cast<double>(quantizer.squared_error(x, decision.base)) -
          static_cast<double>(quantizer.squared_error(
              x, static_cast<std::uint16_t>(decision.extra)))) /
         (d * d);
}

struct Tally {
  int groups = 0, unbounded = 0, uncertain = 0;
  double largest_difference = 0;  // of the two D, where they are small

  double share_left() const {
    return static_cast<double>(unbounded + uncertain) / groups;
  }
};

template <Format F>
void check_group(const GroupQuantizer<F, float>& quantizer, const float* x,
                 Tally* tally) {
  ++tally->groups;
  const auto decision = decide<F>(quantizer, x);
  if (!decision) {
    ++tally->unbounded;
    return;
  }
  const double want = specified_advantage<F>(quantizer, x, *decision);
  // Not for mxfp4's large values, whose part of D is cut off.
  if (std::fabs(want) < 1) {
    const double got = static_cast<double>(decision->advantage);
    tally->largest_difference =
        std::max(tally->largest_difference, std::fabs(want - got));
    ASSERT_NEAR(want, got, decision->bound);
  }
  if (!decision->certain()) {
    ++tally->uncertain;
    return;
  }
  ASSERT_EQ(decision->scale(), quantizer.choose_scale(x, ScaleRule::kMse2))
      << "D " << decision->advantage << ", specified " << want;
}

template <Format F>
void check_groups(const GroupQuantizer<F, float>& quantizer,
                  const std::vector<float>& x, Tally* tally) {
  constexpr std::size_t kGroup = GroupQuantizer<F, float>::kGroup;
  for (std::size_t i = 0; i + kGroup <= x.size(); i += kGroup) {
    ASSERT_NO_FATAL_FAILURE(check_group<F>(quantizer, &x[i], tally));
  }
}

void record(const Tally& tally) {
  ::testing::Test::RecordProperty("groups", tally.groups);
  ::testing::Test::RecordProperty("unbounded", tally.unbounded);
  ::testing::Test::RecordProperty("uncertain", tally.uncertain);
  // In units of 2^-24, half an ulp of 1.
  ::testing::Test::RecordProperty(
      "largest_difference",
      static_cast<int>(std::ldexp(tally.largest_difference, 24)));
}

class Mse2Families
    : public ::testing::TestWithParam<std::tuple<Format, Family>> {};

TEST_P(Mse2Families, CertainDecisionsAreTheSpecifications) {
  const auto [format, family] = GetParam();
  dispatch_format(format, [&, family = family]<Format F>() {
    Tally tally;
    check_groups<F>({},
                    kernels::testing::draw_groups<float>(family, 20000,
                                                         describe(F).group, 11),
                    &tally);
    record(tally);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Formats, Mse2Families,
    ::testing::Combine(::testing::ValuesIn(kernels::testing::kFormats),
                       ::testing::ValuesIn(kernels::testing::kFamilies)),
    [](const auto& param) {
      return kernels::testing::test_name(std::get<0>(param.param)) + "_" +
             kernels::testing::family_name(std::get<1>(param.param));
    });

class Mse2Formats : public ::testing::TestWithParam<Format> {};

// Every bfloat16 below 7, which all midpoints are, and its neighbours.
TEST(RoundedE2m1, IsTheSpecificationsRounding) {
  for (std::uint32_t high = 0; high < 0x40e0u; ++high) {
    for (std::uint32_t offset = 0; offset < 3; ++offset) {
      const std::uint32_t bits = (high << 16) + offset - 1;
      if (bits > 0x40e00000u) continue;  // below 0
      for (const std::uint32_t sign : {0u, 0x80000000u}) {
        const float v = std::bit_cast<float>(bits | sign);
        const RoundedE2m1 rounded = round_e2m1(v);
        const std::uint8_t code = e2m1_encode(v);
        ASSERT_EQ(RoundedE2m1::nibble(rounded.sum) >> 28, code) << v;
        ASSERT_EQ(rounded.value(), e2m1_decode<float>(code)) << v;
      }
    }
  }
}

// Standard normal times a width per group, so that scales of nvfp4 are normal.
std::vector<float> normal_groups(int groups, int size) {
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> width(0.5f, 4.0f);
  std::vector<float> x;
  for (int g = 0; g < groups; ++g) {
    const float w = width(random);
    for (int i = 0; i < size; ++i) x.push_back(w * normal(random));
  }
  return x;
}

TEST_P(Mse2Formats, FewNormalGroupsAreLeft) {
  dispatch_format(GetParam(), []<Format F>() {
    Tally tally;
    check_groups<F>({}, normal_groups(200000, describe(F).group), &tally);
    record(tally);
    EXPECT_LT(tally.share_left(), 1e-3);
  });
}

TEST(Mse2TensorUnits, FewNormalGroupsAreLeft) {
  constexpr Format kFormat = Format::kNvfp4;
  for (const float unit : {3e-4f, 0.7f, 123.4f}) {
    std::vector<float> x = normal_groups(50000, describe(kFormat).group);
    for (float& v : x) v *= 10 * unit;
    Tally tally;
    check_groups<kFormat>({tensor_unit<float>(unit)}, x, &tally);
    EXPECT_LT(tally.share_left(), 1e-3) << unit;
  }
}

// Values of groups with such scales are below 7, where round_e2m1 needs no
// clamp, also under rule absmax: the largest one of each scale.
TEST(Mse2TensorUnits, BoundedScalesNeedNoClamp) {
  for (const float unit : {0x1p-48f, 3e-4f, 1.0f, 123.4f, 0x1p48f}) {
    ASSERT_TRUE(Mse2E4m3::is_bounded_unit(unit));
    const GroupQuantizer<Format::kNvfp4, float> quantizer{
        tensor_unit<float>(unit)};
    for (std::uint16_t scale = 0; scale < 0x80; ++scale) {
      if (!Mse2E4m3::is_bounded(scale, scale)) continue;
      const float d = quantizer.decode_multiplier(scale);
      float low = 6 * d, high = 8 * d;
      ASSERT_EQ(quantizer.absmax_scale(low), scale);
      ASSERT_GT(quantizer.absmax_scale(high), scale);
      while (std::nextafter(low, high) != high) {
        const float middle = low + (high - low) / 2;
        (quantizer.absmax_scale(middle) == scale ? low : high) = middle;
      }
      EXPECT_LE(low * quantizer.encode_multiplier(scale).second, 6.76f)
          << unit << ' ' << scale;
    }
  }
}

// Values on elements and midpoints of the absmax scale's grid, one of them off
// by an ulp; the first one fixes the scale where amax does.
TEST_P(Mse2Formats, ValuesOnMidpoints) {
  dispatch_format(GetParam(), []<Format F>() {
    std::mt19937_64 random(3);
    const float unit = fixed_unit<F, float>().value;
    std::vector<float> x;
    for (int g = 0; g < 50000; ++g) {
      for (int i = 0; i < describe(F).group; ++i) {
        const int steps = static_cast<int>(random() % 33);
        float v = static_cast<float>(i == 0 ? 24 : steps) / 4 * unit;
        if (random() % 8 == 0) v = std::nextafter(v, 100.0f);
        x.push_back(random() % 2 == 0 ? v : -v);
      }
    }
    Tally tally;
    check_groups<F>({}, x, &tally);
    record(tally);
  });
}

// Groups whose choice turns as their first value changes.
template <Format F>
std::vector<float> balanced_groups(int groups) {
  constexpr std::size_t kGroup = GroupQuantizer<F, float>::kGroup;
  std::vector<float> x = normal_groups(groups, kGroup);
  if constexpr (F == Format::kMxfp4Ocp) {
    // Normal values never prefer the finer scale: here 31 of them lie around
    // its elements 1/4 and 3/4, against one from 4 on.
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = i % kGroup == 0 ? 5.4f
                             : 0.25f + (i % 2 == 0 ? 0.5f : 0.0f) + x[i] / 256;
    }
  }
  return x;
}

// The neighbouring floats of *moved between which the specification turns from
// the absmax scale to the other or back, if it does.
template <Format F>
std::optional<std::pair<float, float>> find_turn(const float* group,
                                                 float* moved) {
  const GroupQuantizer<F, float> quantizer;
  const auto picks_base = [&](float v) {
    *moved = v;
    return quantizer.choose_scale(group, ScaleRule::kMse2) ==
           quantizer.absmax_scale(GroupQuantizer<F, float>::statistic(group));
  };
  float low = *moved * 0.75f, high = *moved * 1.25f;
  const bool low_picks = picks_base(low);
  if (low_picks == picks_base(high)) return std::nullopt;
  while (std::nextafter(low, high) != high) {
    const float middle = low + (high - low) / 2;
    (picks_base(middle) == low_picks ? low : high) = middle;
  }
  return std::pair{low, high};
}

// At a turn D must be within the bound on both sides.
TEST_P(Mse2Formats, UncertainWhereTheSpecificationTurns) {
  dispatch_format(GetParam(), []<Format F>() {
    using Quantizer = GroupQuantizer<F, float>;
    const Quantizer quantizer;
    std::vector<float> x = balanced_groups<F>(20000);
    Tally tally;
    for (std::size_t i = 0; i < x.size(); i += Quantizer::kGroup) {
      float* group = &x[i];
      const auto turn = find_turn<F>(group, group);
      if (!turn) continue;
      *group = turn->first;
      const auto low = decide<F>(quantizer, group);
      *group = turn->second;
      const auto high = decide<F>(quantizer, group);
      // Or a scale itself has changed.
      if (!low || !high || low->base != high->base ||
          low->extra != high->extra) {
        continue;
      }
      ++tally.groups;
      tally.uncertain += !low->certain() && !high->certain();
    }
    record(tally);
    EXPECT_GT(tally.groups, 100);
    EXPECT_EQ(tally.uncertain, tally.groups);
  });
}

INSTANTIATE_TEST_SUITE_P(Formats, Mse2Formats,
                         ::testing::ValuesIn(kernels::testing::kFormats),
                         [](const auto& param) {
                           return kernels::testing::test_name(param.param);
                         });

TEST(Mse2StepReciprocal, IsCorrectlyRounded) {
  for (std::uint16_t bits = 71 << 7; bits < 184 << 7; ++bits) {
    const float step = bfloat16_decode(bits);
    for (std::uint32_t ulps = 0; ulps <= 4; ++ulps) {
      const float approximate =
          std::bit_cast<float>(to_bits(1 / step) + ulps - 2);
      ASSERT_EQ(Mse2Step::reciprocal(step, approximate), 1 / step)
          << step << ' ' << ulps;
    }
  }
}

// The algebra of Mse2PowerOfTwo on every multiple of 2^-10 below 8, where all
// arithmetic is exact.
TEST(Mse2PowerOfTwoTerms, AreTheDifferenceOfTheSquares) {
  for (int i = 0; i < 8192; ++i) {
    const float v = static_cast<float>(i) / 1024;
    const float coarse = e2m1_decode<float>(e2m1_encode(v)) - v;
    const float fine = e2m1_decode<float>(e2m1_encode(2 * v)) / 2 - v;
    const float want = coarse * coarse - fine * fine;
    const float group[8] = {v};
    const float got = Mse2PowerOfTwo::doubled_advantage(group, 1) / 2;
    if (v <= 4.5f) {
      EXPECT_EQ(got, want) << v;
    } else {
      // Cut off, and still more than 31 other values can make up for.
      EXPECT_LE(want, got) << v;
      EXPECT_LE(got, -2) << v;
    }
    EXPECT_LE(want, 1.0f / 16) << v;
  }
}

}  // namespace
}  // namespace wush::numerics
