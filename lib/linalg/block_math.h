// Small dense matrices of one block (K <= a few hundred), on the host, double.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <optional>

namespace wush {

// a + damping * mean(diag a) * I. A matrix whose diagonal is all zero (a dead
// block: no weight or no activation ever differs from zero) becomes I, with
// which every formula is defined and, the product being zero, every result
// right.
Eigen::MatrixXd damped(const Eigen::MatrixXd& a, double damping);

// Lower Cholesky factor, or nothing when a is not positive definite.
std::optional<Eigen::MatrixXd> cholesky_lower(const Eigen::MatrixXd& a);

// l, lower triangular with unit diagonal, of h^-1 = l D l^T; nothing when h is
// not positive definite. Taken from the Cholesky factorization of h in reversed
// order, h = u u^T with u upper triangular, so that h is never inverted:
// l = u^-T with its columns scaled.
std::optional<Eigen::MatrixXd> unit_inverse_factor(const Eigen::MatrixXd& h);

// Sylvester's Hadamard matrix / sqrt(n), n a power of two.
Eigen::MatrixXd hadamard_matrix(int n);

// Haar-distributed orthogonal matrix: Q of the QR factorization of a Gaussian
// matrix, its columns multiplied with the signs of R's diagonal.
Eigen::MatrixXd haar_orthogonal(int n, std::uint64_t seed, std::uint64_t stream,
                                std::uint64_t block);

}  // namespace wush
