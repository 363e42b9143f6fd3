// The group-exact reference of a matrix product of two quantized operands. It
// is slow; it is what every other backend's product is compared with.
#pragma once

#include <cstdint>

#include "kernels/cpu/quantize.h"

namespace wush::kernels {

// A quantized matrix [rows, cols] in the layout of kernels/cpu/quantize.h.
struct QuantizedMatrix {
  const std::uint8_t* codes;  // [rows, cols / 2]
  const void* scales;         // [rows, cols / group]
  std::int64_t rows;
  float unit;  // numerics::kFormatUnit, or the tensor's decode constant
};

// y[m, n] = sum_k decode(a)[m, k] * decode(b)[n, k], y being [a.rows, b.rows]
// row-major, y_stride apart. Both operands have the same format and cols.
//
// For every group an exact integer sum S of products of doubled elements (2
// e2m1 is an integer, and so is 2 (c + 0.5) of int4), times the product of the
// two scales, added to a float32 accumulator in ascending group order:
//   acc = fl(acc + fl(S * fl(scale_a * scale_b)))
// Within the range of float32 the scale product is exact, and for e2m1 formats
// S * scale product as well. At the end
//   y = fl(acc * fl(unit_a * unit_b / 4)), the constant formed in double.
void fp4_matmul(Format format, std::int64_t cols, const QuantizedMatrix& a,
                const QuantizedMatrix& b, float* y, std::int64_t y_stride);

}  // namespace wush::kernels
