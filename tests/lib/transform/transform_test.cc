// The laws of the closed-form transforms (spec: "Transforms").
#include "lib/transform/transform.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <Eigen/SVD>
#include <cmath>
#include <stdexcept>

#include "lib/linalg/block_math.h"
#include "lib/linalg/philox.h"
#include "lib/transform/fitted_transform.h"

namespace wush {
namespace {

// Second moment of 4 n vectors with channels of very different size.
BlockMatrix sample_moment(int n, std::uint64_t stream) {
  Eigen::MatrixXd x(4 * n, n);
  for (int i = 0; i < x.rows(); ++i) {
    for (int j = 0; j < n; ++j) {
      x(i, j) = normal(5, stream, 0, static_cast<std::uint32_t>(i * n + j)) *
                std::exp(normal(6, stream, 1, static_cast<std::uint32_t>(j)));
    }
  }
  return damped(x.transpose() * x / x.rows(), 0.01);
}

struct LawCase {
  std::string name;
  double lambda;
  int width;
};

void PrintTo(const LawCase& c, std::ostream* out) {
  *out << c.name << " over " << c.width;
}

// The joint moment's eigenvalues are known to eps times the largest, so to eps
// times its conditioning relative to each, and so is T.
class TransformLaw : public ::testing::TestWithParam<LawCase> {
 protected:
  BlockMoments moments_{sample_moment(GetParam().width, 1),
                        sample_moment(GetParam().width, 2)};
  double tolerance() const {
    const double weight =
        1 / Eigen::LLT<Eigen::MatrixXd>(moments_.weight).rcond();
    const double activation =
        1 / Eigen::LLT<Eigen::MatrixXd>(moments_.activation).rcond();
    return weight * activation * GetParam().width * 2.3e-16;
  }
  BlockMatrix fit() const {
    const LawCase& c = GetParam();
    return make_transform({c.name, c.lambda})
        ->fit(c.width, &moments_, {1, 2, 3});
  }
};

class ClosedForm : public TransformLaw {};  // lambda = 1

TEST_P(ClosedForm, InverseTransposeComesFromTheOtherSide) {
  // T^-T = H S^(-1/2) V^T X'^T, with U S V^T = W'^T X' taken by a singular
  // value decomposition here, which leaves the signs D of the vectors open:
  // (H^T T) (S^(-1/2) V^T X'^T)^T = D.
  const LawCase& c = GetParam();
  const Eigen::MatrixXd w = moments_.weight.llt().matrixL();
  const Eigen::MatrixXd x = moments_.activation.llt().matrixL();
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(
      w.transpose() * x, Eigen::ComputeFullU | Eigen::ComputeFullV);
  const Eigen::MatrixXd other =
      svd.singularValues().array().rsqrt().matrix().asDiagonal() *
      svd.matrixV().transpose() * x.transpose();
  const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(c.width, c.width);
  const Eigen::MatrixXd h =
      c.name == "wus" ? identity : hadamard_matrix(c.width);
  const Eigen::MatrixXd signs = h.transpose() * fit() * other.transpose();
  EXPECT_LT((signs.cwiseAbs() - identity).norm(), tolerance());
}

TEST_P(TransformLaw, MomentsAreEqualized) {
  const LawCase& c = GetParam();
  const BlockMatrix t = fit();
  const Eigen::MatrixXd activation = t * moments_.activation * t.transpose();
  const Eigen::MatrixXd inverse = t.inverse();
  const Eigen::MatrixXd weight =
      inverse.transpose() * moments_.weight * inverse;
  if (c.lambda == 1) {
    // Both equal H S H^T (S without H for wus).
    EXPECT_LT((activation - weight).norm() / weight.norm(), tolerance());
  }
  if (c.name == "wus") return;
  const double mean = activation.diagonal().mean();
  EXPECT_LT((activation.diagonal().array() / mean - 1).abs().maxCoeff(),
            tolerance());
  const double weight_mean = weight.diagonal().mean();
  EXPECT_LT((weight.diagonal().array() / weight_mean - 1).abs().maxCoeff(),
            tolerance());
}

TEST_P(TransformLaw, DoesNotDependOnTheSquareRoot) {
  // T^T T = W' U S^-lambda U^T W'^T; the symmetric root in place of Cholesky
  // must give the same.
  const LawCase& c = GetParam();
  const BlockMatrix t = fit();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> root(moments_.weight);
  const Eigen::MatrixXd w = root.operatorSqrt();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(
      w * moments_.activation * w);
  const Eigen::MatrixXd gram =
      w * eigen.eigenvectors() *
      eigen.eigenvalues().array().pow(-c.lambda / 2).matrix().asDiagonal() *
      eigen.eigenvectors().transpose() * w;
  EXPECT_LT((t.transpose() * t - gram).norm() / gram.norm(), tolerance());
}

std::string law_name(const ::testing::TestParamInfo<LawCase>& test) {
  return test.param.name + "_" +
         std::to_string(static_cast<int>(100 * test.param.lambda)) + "_" +
         std::to_string(test.param.width);
}

INSTANTIATE_TEST_SUITE_P(
    Whitening, TransformLaw,
    ::testing::Values(LawCase{"wus", 1, 16}, LawCase{"wush", 1, 16},
                      LawCase{"wush", 1, 32}, LawCase{"wush", 1, 128},
                      LawCase{"kbbq", 0.75, 32}, LawCase{"kbbq", 0, 16},
                      LawCase{"kbbq", 2, 64}),
    law_name);
INSTANTIATE_TEST_SUITE_P(Whitening, ClosedForm,
                         ::testing::Values(LawCase{"wus", 1, 16},
                                           LawCase{"wush", 1, 16},
                                           LawCase{"wush", 1, 32},
                                           LawCase{"wush", 1, 128}),
                         law_name);

TEST(Transforms, KbbqOneIsWush) {
  const BlockMoments moments{sample_moment(32, 3), sample_moment(32, 4)};
  EXPECT_EQ(make_transform({"kbbq", 1.0})->fit(32, &moments, {}),
            make_transform({"wush", 1.0})->fit(32, &moments, {}));
}

TEST(Transforms, UnknownNameListsTheValidOnes) {
  try {
    make_transform({"hadamrd", 1});
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "expected a transform (identity, random, hadamard, wus, wush, "
                 "kbbq), found \"hadamrd\"");
  }
}

class Stored : public ::testing::TestWithParam<TransformType> {};

TEST_P(Stored, InverseIsThatOfTheRoundedMatrix) {
  const BlockMoments moments{sample_moment(32, 5), sample_moment(32, 6)};
  const BlockMatrix t = make_transform({"wush", 1})->fit(32, &moments, {});
  const StoredBlock stored = store_block(t, GetParam());
  const double epsilon =
      GetParam() == TransformType::kFloat32 ? 0x1p-24 : 0x1p-8;
  EXPECT_LE((stored.matrix - t).cwiseQuotient(t).cwiseAbs().maxCoeff(),
            epsilon);
  EXPECT_GT((stored.matrix - t).norm(), 0);
  EXPECT_LT(
      (stored.matrix * stored.inverse - BlockMatrix::Identity(32, 32)).norm(),
      1e-9);
}

INSTANTIATE_TEST_SUITE_P(Types, Stored,
                         ::testing::Values(TransformType::kFloat32,
                                           TransformType::kBfloat16));

}  // namespace
}  // namespace wush
