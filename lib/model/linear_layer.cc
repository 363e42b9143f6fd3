#include "lib/model/linear_layer.h"

namespace wush {

void quantized_forward(Device& device, const QuantizedLinear& linear,
                       MatrixView<const float> x, const float* bias,
                       const std::string& label, MatrixView<float> y) {
  PackedMatrix packed(device, linear.activation.format, x.rows, x.cols);
  packed.set_unit(linear.activation.unit);
  const BlockTransformView transform = linear.transform->view();
  const std::string input = "input of " + label;
  if (transform.data == nullptr) {
    device.quantize(x, linear.activation, packed.view(), input);
  } else {
    Matrix<float> transformed(device, x.rows, x.cols);
    device.block_transform(x, transform, transformed.view());
    device.quantize(transformed.view(), linear.activation, packed.view(),
                    input);
  }
  device.quantized_linear(packed.view(), linear.weights.view(), bias, y);
}

float largest_transformed(Device& device, const FittedTransform& transform,
                          MatrixView<const float> x) {
  if (transform.view().data == nullptr) return device.largest_magnitude(x);
  Matrix<float> transformed(device, x.rows, x.cols);
  device.block_transform(x, transform.view(), transformed.view());
  return device.largest_magnitude(std::as_const(transformed).view());
}

void LinearLayer::forward(Device& device, MatrixView<const float> x,
                          MatrixView<float> y) const {
  if (quantized) {
    quantized_forward(device, *quantized, x, bias_data(), label, y);
  } else {
    device.linear(x, weight.view(), bias_data(), y);
  }
}

}  // namespace wush
