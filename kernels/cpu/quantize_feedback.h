// GPTQ inside one transform block: quantization with error feedback (WUSH,
// arXiv 2512.00956, algorithm 2, inner loop; Frantar et al. 2022).
#pragma once

#include <cstdint>

#include "kernels/cpu/quantize.h"

namespace wush::kernels {

// Where one block of `width` columns of a quantized matrix goes. Pointers are
// to the block's first column in the first row; strides lead to the next row.
struct FeedbackOutput {
  std::uint8_t* codes;        // packed, width / 2 bytes a row
  std::int64_t code_stride;   // bytes
  void* scales;               // width / group a row; u8, or u16 for int4
  std::int64_t scale_stride;  // scales
  double* values;             // decoded values, [rows, width]
  std::int64_t value_stride;  // values
};

// Quantizes x [rows, width] (row-major, x_stride values apart) column by
// column. `lower` [width, width], row-major, is lower triangular with unit
// diagonal (the Cholesky factor of the block's inverse Hessian, columns divided
// by the diagonal); only what lies below its diagonal is read. For each row:
//   when the first column of a group is reached, the group's scale is chosen by
//   `rule` from the values that its columns have then, and stays;
//   for each column c in order: q_c = decode(encode(x_c)), e = q_c - x_c, and
//   x_{c'} += e * lower[c', c] for all c' > c (a rounded product, then a
//   rounded sum: the same bits on every instruction set).
// width is a multiple of the format's group; rows are independent.
//
// Returns kAllFinite, or row * width + col where a value stopped being finite
// or a group's scale was beyond its type (see quantize_rows); the output is
// then unspecified. Throws std::invalid_argument as quantize_rows does.
std::int64_t quantize_with_feedback(Format format, ScaleRule rule, float unit,
                                    const double* x, std::int64_t rows,
                                    std::int64_t width, std::int64_t x_stride,
                                    const double* lower,
                                    const FeedbackOutput& out);

}  // namespace wush::kernels
