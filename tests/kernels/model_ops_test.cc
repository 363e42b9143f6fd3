// Forward-pass operations of every instruction set against double precision.
// u = 2^-24 is the rounding error of one float operation.
#include "kernels/cpu/model_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/simd/kernels.h"
#include "kernels/numerics/bfloat16.h"
#include "tests/kernels/quantize_inputs.h"

namespace wush::kernels {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;

std::vector<float> gaussians(std::size_t count, double size,
                             std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, size);
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(normal(random));
  return x;
}

class ModelOps : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { WUSH_REQUIRE_ISA(GetParam()); }
  const ModelKernels& ops() const { return *kernels_for(GetParam()).model; }
};

INSTANTIATE_TEST_SUITE_P(All, ModelOps, ::testing::ValuesIn(testing::kIsas),
                         [](const auto& instance) {
                           return std::string(isa_name(instance.param));
                         });

// Lengths around whole vectors of every instruction set.
constexpr std::size_t kLengths[] = {1, 3, 4, 7, 8, 15, 16, 17, 33, 64, 100};

TEST_P(ModelOps, ExponentialIsWithinTwoUlp) {
  std::vector<float> x, y;
  for (std::uint64_t bits = 0; bits < 0x100000000u; bits += 1009) {
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  // More where neither 0 nor infinity is the answer.
  for (int i = -105000; i < 90000; ++i)
    x.push_back(static_cast<float>(i) * 1e-3f);
  y.resize(x.size());
  ops().exponential(x.data(), static_cast<std::int64_t>(x.size()), y.data());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(y[i]));
    } else if (exact > static_cast<double>(std::numeric_limits<float>::max())) {
      ASSERT_TRUE(std::isinf(y[i])) << x[i];
    } else {
      const int exponent = exact > 0 ? std::max(std::ilogb(exact), -126) : -126;
      const double ulp = std::ldexp(1.0, exponent - 23);
      worst =
          std::max(worst, std::fabs(static_cast<double>(y[i]) - exact) / ulp);
    }
  }
  EXPECT_LE(worst, 2);
  RecordProperty("worst_ulp", std::to_string(worst));
}

// factor is rounded once, then two products: 3 u, with a margin for second
// order.
TEST_P(ModelOps, RmsNorm) {
  constexpr std::int64_t kRows = 3;
  for (const std::size_t cols : kLengths) {
    const std::size_t stride = cols + 2;
    const auto x = gaussians(kRows * stride, 3, cols);
    const auto weight = gaussians(cols, 1, 5);
    std::vector<float> y(kRows * stride, -77);
    ops().rms_norm(x.data(), weight.data(), 1e-5f, kRows,
                   static_cast<std::int64_t>(cols),
                   static_cast<std::int64_t>(stride), y.data(),
                   static_cast<std::int64_t>(stride));
    for (std::size_t r = 0; r < kRows; ++r) {
      double squares = 0;
      for (std::size_t c = 0; c < cols; ++c) {
        squares += std::pow(static_cast<double>(x[r * stride + c]), 2);
      }
      const double factor = 1 / std::sqrt(squares / static_cast<double>(cols) +
                                          static_cast<double>(1e-5f));
      for (std::size_t c = 0; c < cols; ++c) {
        const double exact = static_cast<double>(x[r * stride + c]) * factor *
                             static_cast<double>(weight[c]);
        ASSERT_NEAR(y[r * stride + c], exact,
                    3.1 * kUnitRoundoff * std::fabs(exact));
      }
      ASSERT_EQ(y[r * stride + cols], -77);
    }
  }
}

// Two products and a sum, each rounded once: 2 u of |a c| + |b s|.
TEST_P(ModelOps, RopeTurnsPairsHalfAHeadApart) {
  constexpr std::size_t kRows = 4, kHeads = 3;
  for (const std::size_t head_dim : {2u, 6u, 16u, 32u, 40u, 128u}) {
    const std::size_t half = head_dim / 2, stride = kHeads * head_dim + 1;
    const auto before = gaussians(kRows * stride, 2, head_dim);
    const auto angles = gaussians(8 * half, 10, 6);
    std::vector<float> cosines(8 * half), sines(8 * half);
    for (std::size_t i = 0; i < angles.size(); ++i) {
      cosines[i] = std::cos(angles[i]);
      sines[i] = std::sin(angles[i]);
    }
    const std::int32_t positions[kRows] = {5, 0, 7, 2};
    auto x = before;
    ops().rope(x.data(), kRows, kHeads, static_cast<std::int64_t>(head_dim),
               static_cast<std::int64_t>(stride), cosines.data(), sines.data(),
               positions);
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t i = 0; i < kHeads * head_dim; ++i) {
        const bool low = i % head_dim < half;
        const std::size_t at = r * stride + i;
        const std::size_t pair = low ? at + half : at - half;
        const std::size_t angle =
            static_cast<std::size_t>(positions[r]) * half + i % half;
        const double own = static_cast<double>(before[at]) *
                           static_cast<double>(cosines[angle]);
        const double other = static_cast<double>(before[pair]) *
                             static_cast<double>(sines[angle]) * (low ? -1 : 1);
        ASSERT_NEAR(x[at], own + other,
                    2.1 * kUnitRoundoff * (std::fabs(own) + std::fabs(other)));
      }
      ASSERT_EQ(x[r * stride + kHeads * head_dim],
                before[r * stride + kHeads * head_dim]);
    }
  }
}

// exp within 4 u, the sum, quotient and product u each: 7 u. exp(-g) overflows
// below g = -88.7, where the result is less than 1e-36.
TEST_P(ModelOps, SiluMultiply) {
  auto gate = gaussians(1003, 20, 1);
  gate[0] = -100, gate[1] = 100, gate[2] = 0, gate[3] = -0.0f;
  const auto up = gaussians(1003, 1, 2);
  std::vector<float> y(1003);
  ops().silu_multiply(gate.data(), up.data(), 1003, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double g = gate[i], exact = g / (1 + std::exp(-g)) * up[i];
    ASSERT_NEAR(y[i], exact, 7.1 * kUnitRoundoff * std::fabs(exact) + 1e-35);
  }
}

// With |scaled score| <= s the scaling and the shift move an exponent by at
// most 3 s u, the same for the sum; two exponentials of 4 u, sum, inverse and
// product.
TEST_P(ModelOps, MaskedSoftmax) {
  constexpr std::size_t kRows = 6;
  for (const std::size_t cols : kLengths) {
    const std::size_t stride = cols + 3;
    auto x = gaussians(kRows * stride, 10, cols);
    x[0] = 300;
    const auto before = x;
    const auto n = static_cast<std::int32_t>(cols);
    const std::int32_t begin[kRows] = {0, 0, n / 2, n / 3, n, n - 1};
    const std::int32_t end[kRows] = {n, n / 2, n, n - n / 4, n, n};
    constexpr float kScale = 0.125f;
    ops().masked_softmax(x.data(), kRows, n, static_cast<std::int64_t>(stride),
                         begin, end, kScale);
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto first = static_cast<std::size_t>(begin[r]),
                 last = static_cast<std::size_t>(end[r]);
      double sum = 0, size = 0;
      const auto scaled = [&](std::size_t c) {
        return static_cast<double>(before[r * stride + c]) *
               static_cast<double>(kScale);
      };
      for (std::size_t c = first; c < last; ++c) {
        sum += std::exp(scaled(c));
        size = std::max(size, std::fabs(scaled(c)));
      }
      for (std::size_t c = 0; c < stride; ++c) {
        const float found = x[r * stride + c];
        if (c >= cols) {
          ASSERT_EQ(found, before[r * stride + c]);
        } else if (c < first || c >= last) {
          ASSERT_EQ(found, 0);
        } else {
          const double exact = std::exp(scaled(c)) / sum;
          ASSERT_NEAR(found, exact,
                      (6 * size + 11) * kUnitRoundoff * exact + 1e-44);
        }
      }
    }
  }
}

TEST_P(ModelOps, AddAndAddBias) {
  for (const std::size_t n : kLengths) {
    const auto a = gaussians(2 * n, 1, 1), b = gaussians(2 * n, 1, 2);
    std::vector<float> y(2 * n);
    ops().add(a.data(), b.data(), static_cast<std::int64_t>(2 * n), y.data());
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], a[i] + b[i]);
    y = a;
    const auto cols = static_cast<std::int64_t>(n);
    ops().add_bias(y.data(), b.data(), 2, cols, cols, y.data(), cols);
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], a[i] + b[i % n]);
  }
}

TEST_P(ModelOps, WideningIsExact) {
  std::vector<std::uint16_t> x(0x10000 - 3);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<std::uint16_t>(i + 3);
  }
  std::vector<float> y(x.size());
  const auto same = [](float found, float expected) {
    return std::isnan(expected) ? std::isnan(found)
                                : std::bit_cast<std::uint32_t>(found) ==
                                      std::bit_cast<std::uint32_t>(expected);
  };
  ops().widen_bfloat16(x.data(), static_cast<std::int64_t>(x.size()), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(same(y[i], numerics::bfloat16_decode(x[i]))) << x[i];
  }
  ops().widen_float16(x.data(), static_cast<std::int64_t>(x.size()), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(same(y[i], numerics::float16_decode(x[i]))) << x[i];
  }
}

double exact_log_sum_exp(const std::vector<float>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const float v : x) sum += std::exp(static_cast<double>(v) - largest);
  return largest + std::log(sum);
}

// Range of a vector: what a shifted logit can be at most.
double range_of(const std::vector<float>& x) {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  return static_cast<double>(*high) - static_cast<double>(*low);
}

// A shift moves an exponent by at most range u; exp is within 4 u.
double log_sum_exp_tolerance(const std::vector<float>& x) {
  return (range_of(x) + 4.1) * kUnitRoundoff + 1e-13;
}

TEST_P(ModelOps, LogSumExp) {
  for (const std::size_t n : {1u, 5u, 16u, 100u, 4099u}) {
    for (const double size : {0.1, 5.0, 100.0}) {
      auto x = gaussians(n, size, n);
      for (float& v : x) v += 30;
      ASSERT_NEAR(ops().log_sum_exp(x.data(), static_cast<std::int64_t>(n)),
                  exact_log_sum_exp(x), log_sum_exp_tolerance(x));
    }
  }
}

TEST_P(ModelOps, Divergence) {
  for (const std::size_t n : {1u, 7u, 32u, 4099u}) {
    const auto r = gaussians(n, 4, 1);
    const auto noise = gaussians(n, 0.3, 2);
    auto l = r;
    for (std::size_t i = 0; i < n; ++i) l[i] += noise[i];
    const double lse_r = exact_log_sum_exp(r), lse_l = exact_log_sum_exp(l);
    double kl = 0, difference = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double log_p = static_cast<double>(r[i]) - lse_r;
      const double log_q = static_cast<double>(l[i]) - lse_l;
      kl += std::exp(log_p) * (log_p - log_q);
      difference +=
          std::exp(log_p) * std::fabs(static_cast<double>(r[i] - l[i]));
    }
    // The weights p have the error of two log-sum-exps, the logits that of
    // their shifts.
    const double lse_error =
        log_sum_exp_tolerance(r) + log_sum_exp_tolerance(l);
    const double shift_error = (range_of(r) + range_of(l)) * kUnitRoundoff;
    const Divergence found =
        ops().divergence(r.data(), l.data(), static_cast<std::int64_t>(n));
    EXPECT_NEAR(found.kl, kl, lse_error * (1 + difference) + shift_error);
    EXPECT_EQ(found.reference_argmax,
              std::max_element(r.begin(), r.end()) - r.begin());
    EXPECT_EQ(found.argmax, std::max_element(l.begin(), l.end()) - l.begin());
    EXPECT_EQ(
        ops().divergence(r.data(), r.data(), static_cast<std::int64_t>(n)).kl,
        0);
  }
}

TEST_P(ModelOps, ArgmaxIsTheFirstOfEquals) {
  std::vector<float> x(100, 1), y(100, -1);
  x[41] = x[17] = x[99] = 2;
  y[3] = y[4] = 0;
  const Divergence found = ops().divergence(x.data(), y.data(), 100);
  EXPECT_EQ(found.reference_argmax, 17);
  EXPECT_EQ(found.argmax, 3);
}

TEST(NegativeLogLikelihood, IsLogSumExpLessTheLogit) {
  const std::vector<float> logits = {0, 0, 0, 0};
  EXPECT_NEAR(negative_log_likelihood(logits.data(), 4, 2), std::log(4.0),
              4e-7);
  const std::vector<float> sure = {0, 50, 0};
  EXPECT_NEAR(negative_log_likelihood(sure.data(), 3, 1), 0, 1e-12);
  EXPECT_NEAR(negative_log_likelihood(sure.data(), 3, 0), 50, 1e-12);
}

}  // namespace
}  // namespace wush::kernels
