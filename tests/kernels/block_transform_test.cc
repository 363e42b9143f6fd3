// Block transforms of every instruction set against products in double.
#include "kernels/cpu/block_transform.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "kernels/cpu/simd/kernels.h"
#include "tests/kernels/quantize_inputs.h"

namespace wush::kernels {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;

std::vector<float> gaussians(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (float& value : x) value = normal(random);
  return x;
}

class BlockTransform : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { WUSH_REQUIRE_ISA(GetParam()); }
  const TransformKernels& ops() const {
    return *kernels_for(GetParam()).transform;
  }
};

INSTANTIATE_TEST_SUITE_P(All, BlockTransform,
                         ::testing::ValuesIn(testing::kIsas),
                         [](const auto& instance) {
                           return std::string(isa_name(instance.param));
                         });

// A sum of K products in sequence errs by at most K u of the sum of magnitudes.
TEST_P(BlockTransform, EqualsTheProduct) {
  for (const std::size_t block : {1u, 5u, 16u, 24u, 32u, 64u, 100u, 128u}) {
    for (const std::size_t rows : {1u, 3u, 8u, 21u}) {
      const std::size_t x_stride = block + 3, y_stride = block + 1;
      const auto x = gaussians(rows * x_stride, block);
      const auto t = gaussians(block * block, rows);  // [k][j]
      std::vector<float> y(rows * y_stride, -77);
      ops().apply(x.data(), static_cast<std::int64_t>(rows),
                  static_cast<std::int64_t>(block),
                  static_cast<std::int64_t>(x_stride), t.data(), y.data(),
                  static_cast<std::int64_t>(y_stride));
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t j = 0; j < block; ++j) {
          double exact = 0, size = 0;
          for (std::size_t k = 0; k < block; ++k) {
            const double term = static_cast<double>(x[r * x_stride + k]) *
                                static_cast<double>(t[k * block + j]);
            exact += term;
            size += std::fabs(term);
          }
          ASSERT_NEAR(y[r * y_stride + j], exact,
                      static_cast<double>(block) * kUnitRoundoff * size);
        }
        ASSERT_EQ(y[r * y_stride + block], -77);
      }
    }
  }
}

TEST_P(BlockTransform, IsTheSameHoweverRowsAreSplit) {
  constexpr std::int64_t kRows = 29, kBlock = 72;
  const auto x = gaussians(kRows * kBlock, 1),
             t = gaussians(kBlock * kBlock, 2);
  std::vector<float> whole(kRows * kBlock), split(kRows * kBlock);
  ops().apply(x.data(), kRows, kBlock, kBlock, t.data(), whole.data(), kBlock);
  for (std::int64_t r = 0, n = 1; r < kRows; r += n, n = n % 9 + 1) {
    n = std::min(n, kRows - r);
    ops().apply(x.data() + r * kBlock, n, kBlock, kBlock, t.data(),
                split.data() + r * kBlock, kBlock);
  }
  EXPECT_EQ(whole, split);
}

// log2(K) sums and a product in sequence.
TEST_P(BlockTransform, HadamardIsSylvesters) {
  constexpr std::size_t kRows = 3, kBlocks = 2;
  for (std::size_t block = 1; block <= 256; block *= 2) {
    const std::size_t stride = kBlocks * block + 5;
    const auto x = gaussians(kRows * stride, block);
    auto y = x;
    ops().hadamard(y.data(), kRows, kBlocks, static_cast<std::int64_t>(block),
                   static_cast<std::int64_t>(stride));
    const double norm = 1 / std::sqrt(static_cast<double>(block));
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t i = 0; i < stride; ++i) {
        const std::size_t at = r * stride + i;
        if (i >= kBlocks * block) {
          ASSERT_EQ(y[at], x[at]);
          continue;
        }
        const float* values = x.data() + r * stride + i / block * block;
        double exact = 0, size = 0;
        for (std::size_t k = 0; k < block; ++k) {
          const double value = static_cast<double>(values[k]) * norm;
          exact += std::popcount(i % block & k) % 2 == 0 ? value : -value;
          size += std::fabs(value);
        }
        const double roundings = std::log2(static_cast<double>(block)) + 2;
        ASSERT_NEAR(y[at], exact, roundings * kUnitRoundoff * size);
      }
    }
  }
}

TEST(BlockTransformOfMatrices, EveryBlockHasItsOwnOrAllShareOne) {
  constexpr std::int64_t kRows = 5, kBlocks = 3, kBlock = 16, kStride = 50;
  const auto x = gaussians(kRows * kStride, 1);
  const auto t = gaussians(kBlocks * kBlock * kBlock, 2);
  for (const bool shared : {false, true}) {
    std::vector<float> y(kRows * kStride);
    block_transform(x.data(), kRows, kBlocks, kBlock, kStride, t.data(), shared,
                    y.data(), kStride);
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t i = 0; i < kBlocks * kBlock; ++i) {
        const std::int64_t b = i / kBlock, j = i % kBlock;
        const float* row = t.data() + ((shared ? 0 : b) * kBlock + j) * kBlock;
        const float* values = x.data() + r * kStride + b * kBlock;
        double exact = 0, size = 0;
        for (std::int64_t k = 0; k < kBlock; ++k) {
          const double term =
              static_cast<double>(row[k]) * static_cast<double>(values[k]);
          exact += term;
          size += std::fabs(term);
        }
        ASSERT_NEAR(y[static_cast<std::size_t>(r * kStride + i)], exact,
                    kBlock * kUnitRoundoff * size);
      }
    }
  }
}

TEST(BlockHadamard, IsItsOwnInverse) {
  const auto x = gaussians(4 * 128, 3);
  auto y = x;
  block_hadamard(y.data(), 2, 2, 128, 256);
  EXPECT_NE(x, y);
  block_hadamard(y.data(), 2, 2, 128, 256);
  // Twice 7 sums and a product, on values of size below 128 / sqrt(128) * 4.
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(x[i], y[i], 18 * kUnitRoundoff * 46);
  }
}

TEST(BlockHadamard, RefusesOtherThanPowersOfTwo) {
  std::vector<float> x(96, 1);
  EXPECT_THROW(block_hadamard(x.data(), 1, 1, 96, 96), std::invalid_argument);
  EXPECT_THROW(block_hadamard(x.data(), 1, 1, 0, 96), std::invalid_argument);
}

}  // namespace
}  // namespace wush::kernels
