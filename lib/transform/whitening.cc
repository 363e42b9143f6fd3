#include "lib/transform/whitening.h"

#include <Eigen/Eigenvalues>

#include "lib/linalg/block_math.h"
#include "lib/support/error.h"

namespace wush {

BlockMatrix whitening_factor(const BlockMoments& damped, double lambda) {
  const auto root = cholesky_lower(damped.weight);
  if (!root) {
    throw NumericalError("the weights' second moment is not positive definite");
  }
  const Eigen::MatrixXd product = root->transpose() * damped.activation * *root;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(product);
  if (eigen.info() != Eigen::Success || !(eigen.eigenvalues()[0] > 0)) {
    throw NumericalError(fmt::format(
        "the activations' second moment is not positive definite (smallest "
        "eigenvalue of the joint moment {:g})",
        eigen.info() == Eigen::Success ? eigen.eigenvalues()[0] : 0.0));
  }
  const Eigen::VectorXd squared = eigen.eigenvalues().reverse();
  // S^(-lambda/2) = (S^2)^(-lambda/4).
  const Eigen::VectorXd scale = squared.array().pow(-lambda / 4);
  BlockMatrix factor = scale.asDiagonal() *
                       eigen.eigenvectors().rowwise().reverse().transpose() *
                       root->transpose();
  for (Eigen::Index i = 0; i < factor.rows(); ++i) {
    if (factor.row(i).sum() < 0) factor.row(i) = -factor.row(i);
  }
  return factor;
}

}  // namespace wush
