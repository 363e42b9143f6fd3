#include "lib/transform/fitted_transform.h"

#include <Eigen/LU>
#include <vector>

#include "kernels/numerics/bfloat16.h"
#include "lib/support/error.h"

namespace wush {

StoredBlock store_block(const BlockMatrix& t, TransformType type) {
  StoredBlock stored;
  stored.matrix = t.unaryExpr([type](double value) {
    if (type == TransformType::kBfloat16) {
      return static_cast<double>(
          numerics::bfloat16_decode(numerics::bfloat16_encode(value)));
    }
    return static_cast<double>(static_cast<float>(value));
  });
  stored.inverse = stored.matrix.inverse();
  if (!stored.matrix.allFinite() || !stored.inverse.allFinite()) {
    throw NumericalError("a block's transform is singular or not finite");
  }
  return stored;
}

FittedTransform::FittedTransform(Device& device, const Transform& transform,
                                 std::int64_t channels, std::int64_t width)
    : width_(width), shared_(transform.is_shared()) {
  if (transform.is_identity()) return;
  matrices_ = Matrix<float>(device, shared_ ? width : channels, width);
}

void FittedTransform::set_block(Device& device, std::int64_t block,
                                const StoredBlock& stored) {
  if (matrices_.empty() || (shared_ && block > 0)) return;
  const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>
      host = stored.matrix.cast<float>();
  to_device(device, host.data(),
            matrices_.view().rows_from(block * width_, width_));
}

BlockTransformView FittedTransform::view() const {
  return {matrices_.data(), width_, shared_};
}

}  // namespace wush
