// The matrices of a fitted transform, as a deployed model would store them.
#pragma once

#include <cstdint>

#include "lib/device/device.h"
#include "lib/quantize/options.h"
#include "lib/transform/transform.h"

namespace wush {

// T of one block rounded to its storage type, [K, K], and the exact inverse (in
// double) of the rounded matrix, which the weights are multiplied with.
struct StoredBlock {
  BlockMatrix matrix;
  BlockMatrix inverse;
};

// Throws NumericalError when the rounded matrix is singular or not finite.
StoredBlock store_block(const BlockMatrix& t, TransformType type);

// All blocks of one linear, on the device in float32.
class FittedTransform {
 public:
  FittedTransform() = default;
  FittedTransform(Device& device, const Transform& transform,
                  std::int64_t channels, std::int64_t width);

  // With a shared transform the first call sets the matrix of every block.
  void set_block(Device& device, std::int64_t block, const StoredBlock& stored);
  BlockTransformView view() const;

 private:
  Matrix<float> matrices_;  // [blocks * width, width]; empty for the identity
  std::int64_t width_ = 0;
  bool shared_ = false;
};

}  // namespace wush
