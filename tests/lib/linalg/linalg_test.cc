#include <gtest/gtest.h>

#include <Eigen/LU>
#include <cmath>

#include "lib/linalg/block_math.h"
#include "lib/linalg/philox.h"

namespace wush {
namespace {

// The published known-answer vectors of Philox 4x32-10 (Random123).
TEST(Philox, KnownAnswers) {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                   {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                   {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, NormalHasUnitVariance) {
  constexpr int kCount = 100000;
  double sum = 0, squares = 0;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const double x = normal(1, 2, 3, i);
    sum += x;
    squares += x * x;
  }
  // Four standard errors of the mean and of the variance.
  EXPECT_NEAR(sum / kCount, 0, 4 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1, 4 * std::sqrt(2.0 / kCount));
}

class BlockSize : public ::testing::TestWithParam<int> {};

TEST_P(BlockSize, HadamardIsOrthogonalWithEqualMagnitudes) {
  const int n = GetParam();
  const Eigen::MatrixXd h = hadamard_matrix(n);
  EXPECT_LT((h * h.transpose() - Eigen::MatrixXd::Identity(n, n)).norm(),
            n * 1e-15);
  EXPECT_DOUBLE_EQ(h.cwiseAbs().maxCoeff(), h.cwiseAbs().minCoeff());
}

TEST_P(BlockSize, HaarIsOrthogonalAndKeyed) {
  const int n = GetParam();
  const Eigen::MatrixXd q = haar_orthogonal(n, 7, 8, 9);
  EXPECT_LT((q * q.transpose() - Eigen::MatrixXd::Identity(n, n)).norm(),
            n * 1e-14);
  EXPECT_EQ(q, haar_orthogonal(n, 7, 8, 9));
  EXPECT_GT((q - haar_orthogonal(n, 8, 8, 9)).norm(), 0.1);
  EXPECT_GT((q - haar_orthogonal(n, 7, 8, 10)).norm(), 0.1);
}

TEST_P(BlockSize, UnitInverseFactorIsThatOfTheInverse) {
  const int n = GetParam();
  const Eigen::MatrixXd a = haar_orthogonal(n, 1, 1, 1);
  const Eigen::VectorXd spectrum =
      Eigen::VectorXd::LinSpaced(n, -2, 2).array().exp();
  const Eigen::MatrixXd h = a * spectrum.asDiagonal() * a.transpose();
  const auto l = unit_inverse_factor(h);
  ASSERT_TRUE(l);
  EXPECT_TRUE(l->isLowerTriangular(0));
  EXPECT_EQ(l->diagonal(), Eigen::VectorXd::Ones(n));
  // l^-1 h^-1 l^-T is diagonal.
  const Eigen::MatrixXd inverse = l->inverse();
  Eigen::MatrixXd d = inverse * h.inverse() * inverse.transpose();
  d.diagonal().setZero();
  // Condition number e^4 = 55.
  EXPECT_LT(d.norm(), 55 * 55 * n * 1e-15);
}

INSTANTIATE_TEST_SUITE_P(Blocks, BlockSize,
                         ::testing::Values(2, 16, 32, 64, 128),
                         ::testing::PrintToStringParamName());

TEST(Cholesky, RefusesWhatIsNotPositiveDefinite) {
  Eigen::MatrixXd a = Eigen::MatrixXd::Identity(3, 3);
  EXPECT_TRUE(cholesky_lower(a));
  a(2, 2) = 0;
  EXPECT_FALSE(cholesky_lower(a));
  EXPECT_FALSE(unit_inverse_factor(a));
  a(2, 2) = std::nan("");
  EXPECT_FALSE(cholesky_lower(a));
}

TEST(Damping, AddsAShareOfTheMeanDiagonal) {
  Eigen::MatrixXd a(2, 2);
  a << 1, 0.5, 0.5, 3;
  EXPECT_EQ(damped(a, 0.01)(0, 0), 1.02);
  EXPECT_EQ(damped(a, 0.01)(1, 0), 0.5);
  EXPECT_EQ(damped(Eigen::MatrixXd::Zero(2, 2), 0.01),
            Eigen::MatrixXd::Identity(2, 2));
}

}  // namespace
}  // namespace wush
