// The element and scale types against definitions written down independently:
// tables of the specification, and rounding by searching for the nearest value.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "kernels/numerics/bfloat16.h"
#include "kernels/numerics/e2m1.h"
#include "kernels/numerics/e4m3.h"
#include "kernels/numerics/e8m0.h"

namespace wush::numerics {
namespace {

constexpr double kE2m1Values[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

// Value of a small float by its definition: sign, exponent and mantissa fields.
double value_of_fields(std::uint32_t bits, int exponent_bits, int mantissa_bits,
                       int bias) {
  const int mantissa = static_cast<int>(bits & ((1u << mantissa_bits) - 1));
  const int exponent =
      static_cast<int>((bits >> mantissa_bits) & ((1u << exponent_bits) - 1));
  const double sign =
      ((bits >> (mantissa_bits + exponent_bits)) & 1) != 0 ? -1 : 1;
  const double one = std::ldexp(1.0, mantissa_bits);
  return exponent == 0 ? sign * std::ldexp(mantissa, 1 - bias - mantissa_bits)
                       : sign * std::ldexp(one + mantissa,
                                           exponent - bias - mantissa_bits);
}

// A positive value between two neighbouring codes and the code it rounds to.
// Checks the midpoint (ties to the even code) and the values beside it.
template <class P, class Encode>
void check_midpoint(double low, int low_code, double high, int high_code,
                    Encode encode) {
  const P middle = static_cast<P>((low + high) / 2);
  ASSERT_EQ(static_cast<double>(middle), (low + high) / 2);
  const P infinity = std::numeric_limits<P>::infinity();
  const int even = low_code % 2 == 0 ? low_code : high_code;
  ASSERT_EQ(encode(middle), even) << low << " | " << high;
  ASSERT_EQ(encode(std::nextafter(middle, P(0))), low_code) << low;
  ASSERT_EQ(encode(std::nextafter(middle, infinity)), high_code) << high;
}

template <class P>
class ElementTypes : public ::testing::Test {};

struct PrecisionName {
  template <class P>
  static std::string GetName(int) {
    return sizeof(P) == 4 ? "float" : "double";
  }
};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ElementTypes, Precisions, PrecisionName);

TYPED_TEST(ElementTypes, E2m1DecodesEveryCode) {
  using P = TypeParam;
  for (int code = 0; code < 16; ++code) {
    const auto c = static_cast<std::uint8_t>(code);
    const double value = kE2m1Values[code & 7] * (code < 8 ? 1 : -1);
    EXPECT_EQ(static_cast<double>(e2m1_decode<P>(c)), value);
    EXPECT_EQ(std::signbit(e2m1_decode<P>(c)), code >= 8);
    EXPECT_EQ(e2m1_doubled(c), static_cast<int>(2 * value));
    EXPECT_EQ(e2m1_encode(e2m1_decode<P>(c)), code);
  }
}

TYPED_TEST(ElementTypes, E2m1RoundsToNearestEvenAndSaturates) {
  using P = TypeParam;
  for (int code = 0; code < 7; ++code) {
    check_midpoint<P>(kE2m1Values[code], code, kE2m1Values[code + 1], code + 1,
                      [](P v) { return int{e2m1_encode(v)}; });
    check_midpoint<P>(kE2m1Values[code], code, kE2m1Values[code + 1], code + 1,
                      [](P v) { return e2m1_encode(-v) - 8; });
  }
  EXPECT_EQ(e2m1_encode(P(-0.0)), 8);
  EXPECT_EQ(e2m1_encode(P(6.5)), 7);
  EXPECT_EQ(e2m1_encode(std::numeric_limits<P>::max()), 7);
  EXPECT_EQ(e2m1_encode(-std::numeric_limits<P>::infinity()), 15);
  EXPECT_EQ(e2m1_encode(std::numeric_limits<P>::denorm_min()), 0);
}

TYPED_TEST(ElementTypes, E4m3DecodesEveryByte) {
  using P = TypeParam;
  for (int byte = 0; byte < 256; ++byte) {
    const auto b = static_cast<std::uint8_t>(byte);
    const P value = e4m3_decode<P>(b);
    if ((byte & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    EXPECT_EQ(static_cast<double>(value),
              value_of_fields(static_cast<std::uint32_t>(byte), 4, 3, 7));
    EXPECT_EQ(e4m3_encode(value), byte);
  }
}

TYPED_TEST(ElementTypes, E4m3RoundsToNearestEvenAndSaturates) {
  using P = TypeParam;
  for (int byte = 0; byte < kE4m3MaxCode; ++byte) {
    const double low =
        value_of_fields(static_cast<std::uint32_t>(byte), 4, 3, 7);
    const double high =
        value_of_fields(static_cast<std::uint32_t>(byte + 1), 4, 3, 7);
    check_midpoint<P>(low, byte, high, byte + 1,
                      [](P v) { return int{e4m3_encode(v)}; });
    check_midpoint<P>(low, byte, high, byte + 1,
                      [](P v) { return e4m3_encode(-v) - 0x80; });
  }
  EXPECT_EQ(e4m3_encode(P(449)), kE4m3MaxCode);
  EXPECT_EQ(e4m3_encode(P(480)), kE4m3MaxCode);
  EXPECT_EQ(e4m3_encode(std::numeric_limits<P>::infinity()), kE4m3MaxCode);
  EXPECT_EQ(e4m3_encode(-std::numeric_limits<P>::max()), 0x80 | kE4m3MaxCode);
  EXPECT_EQ(e4m3_encode(std::numeric_limits<P>::denorm_min()), 0);
  EXPECT_EQ(e4m3_encode(std::numeric_limits<P>::quiet_NaN()) & 0x7f, 0x7f);
}

TYPED_TEST(ElementTypes, E8m0RoundsAtOneAndAHalf) {
  using P = TypeParam;
  for (int byte = 0; byte <= kE8m0MaxByte; ++byte) {
    const auto value = static_cast<P>(std::ldexp(1.0, byte - 127));
    EXPECT_EQ(power_of_two<P>(e8m0_exponent(static_cast<std::uint8_t>(byte))),
              value);
    EXPECT_EQ(e8m0_round(value), byte);
    const P turn = value * P(1.5);
    const int up = byte == kE8m0MaxByte ? byte : byte + 1;
    EXPECT_EQ(e8m0_round(turn), up);
    EXPECT_EQ(e8m0_round(std::nextafter(turn, P(0))), byte);
    EXPECT_EQ(e8m0_round(std::nextafter(value * 2, P(0))), up);
    EXPECT_EQ(e8m0_from_exponent(byte - 127), byte);
  }
  EXPECT_EQ(e8m0_round(P(0)), 0);
  EXPECT_EQ(e8m0_round(std::numeric_limits<P>::denorm_min()), 0);
  EXPECT_EQ(e8m0_round(std::numeric_limits<P>::max()), kE8m0MaxByte);
  EXPECT_EQ(e8m0_from_exponent(-1000), 0);
  EXPECT_EQ(e8m0_from_exponent(1000), kE8m0MaxByte);
}

TEST(Bfloat16, DecodesAndReencodesEveryPattern) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto b = static_cast<std::uint16_t>(bits);
    const float value = bfloat16_decode(b);
    if ((bits & 0x7fff) > 0x7f80) {
      ASSERT_TRUE(std::isnan(value));
      ASSERT_TRUE(std::isnan(bfloat16_decode(bfloat16_encode(value))));
      ASSERT_TRUE(std::isnan(
          bfloat16_decode(bfloat16_encode(static_cast<double>(value)))));
      continue;
    }
    if ((bits & 0x7fff) == 0x7f80) {
      ASSERT_TRUE(std::isinf(value));
    } else {
      ASSERT_EQ(static_cast<double>(value), value_of_fields(bits, 8, 7, 127));
    }
    ASSERT_EQ(bfloat16_encode(value), bits);
    ASSERT_EQ(bfloat16_encode(static_cast<double>(value)), bits);
  }
}

TYPED_TEST(ElementTypes, Bfloat16RoundsToNearestEven) {
  using P = TypeParam;
  for (std::uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    check_midpoint<P>(value_of_fields(bits, 8, 7, 127), static_cast<int>(bits),
                      value_of_fields(bits + 1, 8, 7, 127),
                      static_cast<int>(bits + 1),
                      [](P v) { return int{bfloat16_encode(v)}; });
    if (this->HasFatalFailure()) return;
  }
  // Half a step above the largest finite value overflows, just below does not.
  const P edge = static_cast<P>(std::ldexp(511.0, 119));
  EXPECT_EQ(bfloat16_encode(edge), 0x7f80);
  EXPECT_EQ(bfloat16_encode(std::nextafter(edge, P(0))), 0x7f7f);
  EXPECT_EQ(bfloat16_encode(-edge), 0xff80);
  EXPECT_EQ(bfloat16_encode(std::numeric_limits<P>::max()), 0x7f80);
  EXPECT_EQ(bfloat16_encode(P(-0.0)), 0x8000);
}

// A double just off a midpoint that float would round onto it.
TEST(Bfloat16, DoubleIsRoundedOnce) {
  for (std::uint32_t bits = 1; bits < 0x7f7f; ++bits) {
    const double low = value_of_fields(bits, 8, 7, 127);
    const double high = value_of_fields(bits + 1, 8, 7, 127);
    const double middle = (low + high) / 2;
    ASSERT_EQ(bfloat16_encode(middle * (1 + 1e-15)), bits + 1);
    ASSERT_EQ(bfloat16_encode(-middle * (1 - 1e-15)), bits | 0x8000);
  }
}

TEST(Float16, DecodesEveryPattern) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = float16_decode(static_cast<std::uint16_t>(bits));
    if ((bits & 0x7fff) > 0x7c00) {
      ASSERT_TRUE(std::isnan(value));
    } else if ((bits & 0x7fff) == 0x7c00) {
      ASSERT_TRUE(std::isinf(value));
      ASSERT_EQ(std::signbit(value), bits >= 0x8000);
    } else {
      ASSERT_EQ(static_cast<double>(value), value_of_fields(bits, 5, 10, 15));
      ASSERT_EQ(std::signbit(value), bits >= 0x8000);
    }
  }
}

// Significant bits of a positive value.
int significant_bits(double x) {
  int exponent;
  double rest = std::frexp(x, &exponent);
  int bits = 0;
  while (rest != 0) {
    rest = 2 * rest - std::floor(2 * rest);
    ++bits;
  }
  return bits;
}

TEST(Facts, ElementTimesE8m0IsExactInBfloat16) {
  for (int code = 1; code < 8; ++code) {
    for (int byte = 0; byte <= kE8m0MaxByte; ++byte) {
      const double product = kE2m1Values[code] * std::ldexp(1.0, byte - 127);
      EXPECT_LE(significant_bits(product), 2);
      if (product >= std::ldexp(1.0, 128)) continue;  // beyond bfloat16
      EXPECT_EQ(static_cast<double>(bfloat16_decode(bfloat16_encode(product))),
                product);
    }
  }
}

TEST(Facts, ElementTimesE4m3IsExactInBfloat16) {
  int most_bits = 0;
  for (int code = 1; code < 8; ++code) {
    for (int byte = 1; byte <= kE4m3MaxCode; ++byte) {
      const double product =
          kE2m1Values[code] *
          e4m3_decode<double>(static_cast<std::uint8_t>(byte));
      most_bits = std::max(most_bits, significant_bits(product));
      EXPECT_EQ(static_cast<double>(bfloat16_decode(bfloat16_encode(product))),
                product);
    }
  }
  EXPECT_LE(most_bits, 6);
}

TEST(Facts, DoubledElementsAreTheseIntegers) {
  std::set<int> magnitudes;
  for (int code = 0; code < 16; ++code) {
    magnitudes.insert(std::abs(e2m1_doubled(static_cast<std::uint8_t>(code))));
  }
  EXPECT_EQ(magnitudes, (std::set<int>{0, 1, 2, 3, 4, 6, 8, 12}));
}

TEST(Facts, GroupSumTimesScaleProductIsExactInFloat) {
  // e8m0 products are powers of two; the group sum of 32 has 13 bits.
  // e4m3: every pair of significands, group sums up to 16 * 12 * 12.
  for (int a = 1; a < 16; ++a) {
    for (int b = a; b < 16; ++b) {
      for (int sum = 0; sum <= 16 * 12 * 12; ++sum) {
        const float product = static_cast<float>(a) * static_cast<float>(b);
        ASSERT_EQ(static_cast<double>(static_cast<float>(sum) * product),
                  static_cast<double>(sum) * a * b);
      }
    }
  }
}

// e4m3 has four significant bits; beyond the 225 that need more, 50 products
// fall below its smallest step or above its largest value.
TEST(Facts, ProductsOfElementAndE4m3ThatDoNotFitE4m3) {
  int too_many_bits = 0, misfits = 0;
  for (int code = 0; code < 8; ++code) {
    for (int byte = 0; byte <= kE4m3MaxCode; ++byte) {
      const double product =
          kE2m1Values[code] *
          e4m3_decode<double>(static_cast<std::uint8_t>(byte));
      too_many_bits += significant_bits(product) > 4 ? 1 : 0;
      misfits += e4m3_decode<double>(e4m3_encode(product)) != product ? 1 : 0;
    }
  }
  EXPECT_EQ(too_many_bits, 225);
  EXPECT_EQ(misfits, 275);
}

TEST(Facts, GoingThroughE4m3RoundsTwice) {
  const float x = 0.2501f;
  EXPECT_EQ(e2m1_encode(x), 1);
  EXPECT_EQ(e2m1_encode(e4m3_decode<float>(e4m3_encode(x))), 0);
}

}  // namespace
}  // namespace wush::numerics
