// Second moments of a linear's inputs, accumulated in double.
#pragma once

#include <cstdint>

#include "lib/device/device.h"
#include "lib/transform/transform.h"

namespace wush {

// Sigma = E[x x^T] over tokens, kept as a sum on the device: whole (its lower
// half), or only its diagonal blocks of `block` channels, which is all that rtn
// with marginal moments needs.
class Hessian {
 public:
  // block == channels keeps the whole matrix.
  Hessian(Device& device, std::int64_t channels, std::int64_t block);

  void accumulate(Device& device,
                  MatrixView<const float> x);  // x [tokens, channels]

  std::int64_t channels() const { return channels_; }
  std::int64_t tokens() const { return tokens_; }
  bool is_full() const { return block_ == channels_; }

  // The first channel whose second moment is not finite, or -1. (Off the
  // diagonal none can be while both channels' own are finite.)
  std::int64_t find_non_finite(Device& device) const;

  // Sigma's diagonal block of `width` channels that begins at channel `first`,
  // [width, width], on the host. `width` divides the kept block.
  BlockMatrix diagonal_block(Device& device, std::int64_t first,
                             std::int64_t width) const;

  // tokens * (Sigma + damping * mean(diag Sigma) * I), lower half; needs the
  // whole matrix.
  Matrix<double> damped_sum(Device& device, double damping) const;

 private:
  std::int64_t channels_;
  std::int64_t block_;
  std::int64_t tokens_ = 0;
  Matrix<double> sum_;  // [channels, block]
};

}  // namespace wush
