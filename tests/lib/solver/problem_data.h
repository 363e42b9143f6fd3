// Random layers for the tests of the solvers.
#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "lib/device/device.h"

namespace wush::testing {

using RowMajorF =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Normal values, the columns of different size (log-normal, sigma 0.5).
RowMajorF gaussian(int rows, int cols, std::uint64_t stream);

// Inputs with correlated channels, in small integers: their second moments are
// exact in every order of summation and precision used here.
RowMajorF correlated(int tokens, int channels, std::uint64_t stream);

Matrix<float> upload(Device& device, const RowMajorF& host);

// Decoded codes, in double.
Eigen::MatrixXd decode(const PackedView& packed);

// tr(E Sigma E^T) of the error in the original space.
double loss(const Eigen::MatrixXd& error, const Eigen::MatrixXd& sigma);

bool same_codes(const PackedView& a, const PackedView& b);

}  // namespace wush::testing
