#include "lib/solver/hessian.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/support/error.h"

namespace wush {

Hessian::Hessian(Device& device, std::int64_t channels, std::int64_t block)
    : channels_(channels), block_(block), sum_(device, channels, block) {
  WUSH_CHECK(channels % block == 0, "{} channels in blocks of {}", channels,
             block);
  device.fill_zero(sum_.data(),
                   static_cast<std::size_t>(channels * block) * sizeof(double));
}

void Hessian::accumulate(Device& device, MatrixView<const float> x) {
  device.accumulate_gram(x, block_, sum_.view());
  tokens_ += x.rows;
}

std::int64_t Hessian::find_non_finite(Device& device) const {
  for (std::int64_t first = 0; first < channels_; first += block_) {
    const MatrixView<const double> diagonal(sum_.data() + first * block_,
                                            block_, 1, block_ + 1);
    const std::vector<double> values = to_host(device, diagonal);
    const auto bad =
        std::find_if(values.begin(), values.end(),
                     [](double value) { return !std::isfinite(value); });
    if (bad != values.end()) return first + (bad - values.begin());
  }
  return -1;
}

BlockMatrix Hessian::diagonal_block(Device& device, std::int64_t first,
                                    std::int64_t width) const {
  WUSH_CHECK(block_ % width == 0, "blocks of {} from ones of {}", width,
             block_);
  const auto part =
      sum_.view().rows_from(first, width).cols_from(first % block_, width);
  const std::vector<double> lower = to_host(device, part);
  BlockMatrix result(width, width);
  const double scale = 1.0 / static_cast<double>(tokens_);
  for (std::int64_t i = 0; i < width; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      result(i, j) = result(j, i) =
          lower[static_cast<std::size_t>(i * width + j)] * scale;
    }
  }
  return result;
}

Matrix<double> Hessian::damped_sum(Device& device, double damping) const {
  WUSH_CHECK(is_full(), "the whole Hessian of {} channels", channels_);
  Matrix<double> result(device, channels_, channels_);
  copy(device, sum_.view(), result.view());
  const MatrixView<double> diagonal(result.data(), channels_, 1, channels_ + 1);
  std::vector<double> values = to_host(device, diagonal);
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) /
                      static_cast<double>(channels_);
  WUSH_CHECK(std::isfinite(mean), "a Hessian that is not finite");
  // Inputs that are zero throughout leave nothing to minimize: any positive
  // definite matrix serves, and rounding to nearest is what I gives.
  const double shift = mean == 0 ? 1.0 : damping * mean;
  for (double& value : values) value += shift;
  to_device(device, values.data(), diagonal);
  return result;
}

}  // namespace wush
