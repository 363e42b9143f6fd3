// What fitting a transform does with moments that are not well-behaved.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/LU>
#include <Eigen/SVD>
#include <cmath>
#include <string>

#include "lib/linalg/block_math.h"
#include "lib/linalg/philox.h"
#include "lib/support/error.h"
#include "lib/transform/fitted_transform.h"
#include "lib/transform/transform.h"
#include "tests/child_process.h"

namespace wush {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

constexpr int kChannels = 16;

BlockMatrix second_moment(std::uint64_t stream, int samples) {
  BlockMatrix x(samples, kChannels);
  for (int i = 0; i < samples; ++i) {
    for (int j = 0; j < kChannels; ++j) {
      x(i, j) = normal(3, stream, static_cast<std::uint32_t>(i),
                       static_cast<std::uint32_t>(j));
    }
  }
  return x.transpose() * x / samples;
}

class Whitening : public ::testing::TestWithParam<const char*> {
 protected:
  BlockMatrix fit(const BlockMoments& moments) const {
    return make_transform({GetParam(), 1.0})->fit(kChannels, &moments, {});
  }
  static BlockMoments damped_moments(const BlockMatrix& weight,
                                     const BlockMatrix& activation) {
    return {damped(weight, 0.01), damped(activation, 0.01)};
  }
};

TEST_P(Whitening, NamesTheMomentThatIsNotPositiveDefinite) {
  const BlockMatrix good = second_moment(1, 64);
  BlockMatrix bad = good;
  bad(4, 4) = -1;
  EXPECT_THAT(message_of<NumericalError>([&] {
                fit({bad, good});
              }),
              HasSubstr("the weights' second moment"));
  EXPECT_THAT(message_of<NumericalError>([&] {
                fit({good, bad});
              }),
              HasSubstr("the activations' second moment"));
}

TEST_P(Whitening, NeverReturnsAMatrixMadeOfNonFiniteMoments) {
  const BlockMatrix good = second_moment(1, 64);
  BlockMatrix bad = good;
  bad(4, 4) = NAN;
  EXPECT_THROW(fit({bad, good}), NumericalError);
  EXPECT_THROW(fit({good, bad}), NumericalError);
}

// Damping makes a moment of rank 2 definite; T and its inverse stay as far from
// singular as the damping allows: cond(T)^2 <= sqrt(cond M cond Sigma), each at
// most 1 + K / 0.01.
TEST_P(Whitening, OfRankDeficientMomentsIsAsInvertibleAsTheDampingAllows) {
  const BlockMatrix t =
      fit(damped_moments(second_moment(1, 2), second_moment(2, 2)));
  const Eigen::JacobiSVD<BlockMatrix> svd(t);
  const double condition =
      svd.singularValues()(0) / svd.singularValues()(kChannels - 1);
  EXPECT_LT(condition, 1 + kChannels / 0.01);
  EXPECT_TRUE((t * t.inverse()).isIdentity(1e-9));
}

// With no weights or no activations the block is dead: damped() gives I.
TEST_P(Whitening, OfADeadBlockIsThatOfTheOtherMomentAlone) {
  const BlockMatrix zero = BlockMatrix::Zero(kChannels, kChannels);
  const BlockMatrix alive = second_moment(1, 64);
  EXPECT_TRUE(fit(damped_moments(zero, alive)).allFinite());
  EXPECT_TRUE(fit(damped_moments(alive, zero)).allFinite());
  const BlockMatrix dead = fit(damped_moments(zero, zero));
  EXPECT_TRUE((dead * dead.transpose()).isIdentity(1e-12)) << "orthogonal";
}

TEST_P(Whitening, ScalesWithAnOutlierChannelInsteadOfFailing) {
  BlockMatrix outlier = second_moment(1, 64);
  outlier.row(3) *= 1e6;
  outlier.col(3) *= 1e6;
  const BlockMatrix t = fit(damped_moments(second_moment(2, 64), outlier));
  EXPECT_TRUE(t.allFinite());
  EXPECT_TRUE(t.inverse().allFinite());
}

TEST_P(Whitening, OfMomentsOfAnyScaleIsTheSameUpToAFactor) {
  const BlockMatrix weight = second_moment(1, 64);
  const BlockMatrix activation = second_moment(2, 64);
  const BlockMatrix t = fit(damped_moments(weight, activation));
  // T = S^(-1/2) U^T W'^T scales as w^(1/2) a^(-1/2) ... to the fourth root of
  // the moments' factors: M by a gives a^(1/4), Sigma by b gives b^(-1/4).
  const BlockMatrix scaled =
      fit(damped_moments(weight * 1e-30, activation * 1e20));
  EXPECT_TRUE(
      scaled.isApprox(t * std::pow(1e-30, 0.25) * std::pow(1e20, -0.25), 1e-9));
}

INSTANTIATE_TEST_SUITE_P(Transforms, Whitening,
                         ::testing::Values("wus", "wush", "kbbq"),
                         [](const auto& test) {
                           return std::string(test.param);
                         });

class StoredType : public ::testing::TestWithParam<TransformType> {};

TEST_P(StoredType, ASingularMatrixIsAnErrorAndNotStored) {
  BlockMatrix t = BlockMatrix::Identity(kChannels, kChannels);
  t(5, 5) = 0;
  EXPECT_THAT(message_of<NumericalError>([&] { store_block(t, GetParam()); }),
              HasSubstr("singular or not finite"));
}

TEST_P(StoredType, AMatrixThatOverflowsItsTypeIsAnErrorAndNotStored) {
  BlockMatrix t = BlockMatrix::Identity(kChannels, kChannels);
  t(5, 5) = 1e39;
  EXPECT_THAT(message_of<NumericalError>([&] { store_block(t, GetParam()); }),
              HasSubstr("singular or not finite"));
}

TEST_P(StoredType, TheInverseIsThatOfTheRoundedMatrix) {
  const BlockMatrix t = haar_orthogonal(kChannels, 1, 2, 3);
  const StoredBlock stored = store_block(t, GetParam());
  EXPECT_FALSE(stored.matrix == t);
  EXPECT_TRUE((stored.matrix * stored.inverse).isIdentity(1e-12));
}

INSTANTIATE_TEST_SUITE_P(Types, StoredType,
                         ::testing::Values(TransformType::kFloat32,
                                           TransformType::kBfloat16),
                         [](const auto& test) {
                           return test.param == TransformType::kFloat32
                                      ? "float32"
                                      : "bfloat16";
                         });

}  // namespace
}  // namespace wush
