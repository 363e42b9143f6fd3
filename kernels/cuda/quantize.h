// Quantizing and packing a matrix on the device, and back.
#pragma once

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

// Quantizes x [rows, cols] of `type`, row-major and dense, widened to float32:
// the same codes and scale bits as kernels::quantize_rows. cols is a multiple
// of the format's group.
//
// hadamard: 0, or the power of two 16, 32, 64 or 128, a divisor of cols: every
// block of so many columns is first multiplied by the orthonormal Sylvester
// Hadamard matrix, by a butterfly in float32 (sums of columns 1, 2, 4, ...
// apart, then times float32(1 / sqrt(hadamard))).
Status quantize(Format format, ScaleRule rule, float unit, DataType type,
                const void* x, std::int64_t rows, std::int64_t cols,
                int hadamard, const QuantizedOutput& out, Stream stream);

// out[r, c] = float32(element value * float32(scale * unit)), rounded to
// `type`.
Status dequantize(Format format, const QuantizedMatrix& x, std::int64_t cols,
                  DataType type, void* out, Stream stream);

}  // namespace wush::kernels::cuda
