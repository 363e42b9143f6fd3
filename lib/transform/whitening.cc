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
  Eigen::MatrixXd u = eigen.eigenvectors().rowwise().reverse();
  const Eigen::VectorXd squared = eigen.eigenvalues().reverse();
  for (Eigen::Index j = 0; j < u.cols(); ++j) {
    Eigen::Index largest = 0;
    u.col(j).cwiseAbs().maxCoeff(&largest);
    if (u(largest, j) < 0) u.col(j) = -u.col(j);
  }
  // S^(-lambda/2) = (S^2)^(-lambda/4).
  const Eigen::VectorXd scale = squared.array().pow(-lambda / 4);
  return scale.asDiagonal() * u.transpose() * root->transpose();
}

}  // namespace wush
