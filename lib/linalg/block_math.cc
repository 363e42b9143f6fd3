#include "lib/linalg/block_math.h"

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <bit>
#include <cmath>

#include "lib/linalg/philox.h"
#include "lib/support/error.h"

namespace wush {

Eigen::MatrixXd damped(const Eigen::MatrixXd& a, double damping) {
  const double mean = a.diagonal().mean();
  if (mean == 0) return Eigen::MatrixXd::Identity(a.rows(), a.cols());
  Eigen::MatrixXd result = a;
  result.diagonal().array() += damping * mean;
  return result;
}

std::optional<Eigen::MatrixXd> cholesky_lower(const Eigen::MatrixXd& a) {
  const Eigen::LLT<Eigen::MatrixXd> factor(a);
  if (factor.info() != Eigen::Success) return std::nullopt;
  Eigen::MatrixXd lower = factor.matrixL();
  // LLT lets NaN and an exactly singular pivot pass.
  if (!(lower.diagonal().array() > 0).all() || !lower.allFinite()) {
    return std::nullopt;
  }
  return lower;
}

std::optional<Eigen::MatrixXd> unit_inverse_factor(const Eigen::MatrixXd& h) {
  auto reversed = cholesky_lower(h.reverse());
  if (!reversed) return std::nullopt;
  const Eigen::MatrixXd upper = reversed->reverse();  // h = upper upper^T
  const Eigen::MatrixXd inverse = upper.triangularView<Eigen::Upper>().solve(
      Eigen::MatrixXd::Identity(h.rows(), h.cols()));
  Eigen::MatrixXd lower = inverse.transpose();  // upper^-T
  for (Eigen::Index c = 0; c < lower.cols(); ++c) {
    const double pivot = lower(c, c);
    lower.col(c) /= pivot;
    lower(c, c) = 1;
  }
  return lower;
}

Eigen::MatrixXd hadamard_matrix(int n) {
  WUSH_CHECK(n > 0 && std::has_single_bit(static_cast<unsigned>(n)),
             "a Sylvester Hadamard matrix of {} rows", n);
  Eigen::MatrixXd h(n, n);
  const double value = 1 / std::sqrt(static_cast<double>(n));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      const bool odd = std::popcount(static_cast<unsigned>(i & j)) % 2 != 0;
      h(i, j) = odd ? -value : value;
    }
  }
  return h;
}

Eigen::MatrixXd haar_orthogonal(int n, std::uint64_t seed, std::uint64_t stream,
                                std::uint64_t block) {
  Eigen::MatrixXd gaussian(n, n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      gaussian(i, j) = normal(seed, stream, static_cast<std::uint32_t>(block),
                              static_cast<std::uint32_t>(i * n + j));
    }
  }
  const Eigen::HouseholderQR<Eigen::MatrixXd> qr(gaussian);
  Eigen::MatrixXd q = qr.householderQ();
  for (int j = 0; j < n; ++j) {
    if (qr.matrixQR()(j, j) < 0) q.col(j) = -q.col(j);
  }
  return q;
}

}  // namespace wush
