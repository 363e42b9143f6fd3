// Families of groups that try a quantizer's corners.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/numerics/format.h"

namespace wush::kernels::testing {

enum class Family {
  kNormal,       // Gaussian, scales of groups spread over 2^+-10
  kLogUniform,   // every exponent of the type
  kSubnormal,    // subnormal in float32, or near the smallest scales
  kHuge,         // near the largest float32
  kPowersOfTwo,  // with signs
  kTies,         // multiples of an element step over a power of two
  kSparse,       // mostly zeros of both signs, some groups all zero
  kCornerMix,    // all of these in one group
};

inline constexpr Family kFamilies[] = {
    Family::kNormal, Family::kLogUniform,  Family::kSubnormal,
    Family::kHuge,   Family::kPowersOfTwo, Family::kTies,
    Family::kSparse, Family::kCornerMix};

inline std::string family_name(Family family) {
  constexpr std::string_view kNames[] = {"normal", "log_uniform",   "subnormal",
                                         "huge",   "powers_of_two", "ties",
                                         "sparse", "corner_mix"};
  return std::string(kNames[static_cast<int>(family)]);
}

// One value of a family; `center` is an exponent drawn once a group.
template <class P>
P draw(Family family, int center, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  const auto integer = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const double sign = integer(0, 1) == 0 ? 1 : -1;
  const double significand =
      1 + std::uniform_real_distribution<double>(0, 1)(random);
  // Exponents of float32 also for double: the scales have them.
  switch (family) {
    case Family::kNormal:
      return static_cast<P>(std::ldexp(normal(random), center));
    case Family::kLogUniform:
      return static_cast<P>(sign * std::ldexp(significand, integer(-149, 127)));
    case Family::kSubnormal:
      return static_cast<P>(sign *
                            std::ldexp(significand, integer(-150, -120)));
    case Family::kHuge:
      return static_cast<P>(sign * std::ldexp(significand, integer(120, 127)));
    case Family::kPowersOfTwo:
      return static_cast<P>(sign * std::ldexp(1.0, center + integer(-6, 2)));
    case Family::kTies:
      return static_cast<P>(sign * std::ldexp(integer(0, 32) / 4.0, center));
    case Family::kSparse:
      return integer(0, 7) == 0 && center != 0 ? static_cast<P>(normal(random))
                                               : static_cast<P>(sign * 0.0);
    case Family::kCornerMix:
      break;
  }
  return draw<P>(kFamilies[integer(0, 6)], center, random);
}

// `groups` groups of `size` values. Values beyond the type are left out.
template <class P>
std::vector<P> draw_groups(Family family, int groups, int size,
                           std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<P> x;
  x.reserve(static_cast<std::size_t>(groups) * static_cast<std::size_t>(size));
  for (int g = 0; g < groups; ++g) {
    const int center = std::uniform_int_distribution<int>(-10, 10)(random);
    for (int i = 0; i < size; ++i) {
      P value = draw<P>(family, center, random);
      while (!std::isfinite(value)) value = draw<P>(family, center, random);
      x.push_back(value);
    }
  }
  return x;
}

inline constexpr numerics::Format kFormats[] = {
    numerics::Format::kMxfp4, numerics::Format::kNvfp4, numerics::Format::kInt4,
    numerics::Format::kMxfp4Ocp};
inline constexpr numerics::ScaleRule kRules[] = {numerics::ScaleRule::kAbsMax,
                                                 numerics::ScaleRule::kMse2,
                                                 numerics::ScaleRule::kSearch};
inline constexpr Isa kIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512};

// Test names take no hyphens.
inline std::string test_name(std::string_view name) {
  std::string result(name);
  for (char& c : result) {
    if (c == '-') c = '_';
  }
  return result;
}
inline std::string test_name(numerics::Format format) {
  return test_name(numerics::describe(format).name);
}
inline std::string test_name(numerics::ScaleRule rule) {
  return test_name(numerics::kScaleRuleNames[static_cast<std::size_t>(rule)]);
}

}  // namespace wush::kernels::testing

// Skips the test, by name, on a CPU that lacks the instruction set.
#define WUSH_REQUIRE_ISA(isa)               \
  if (!::wush::kernels::isa_available(isa)) \
  GTEST_SKIP() << "needs " << ::wush::kernels::isa_name(isa)
