// Block transforms (spec method.md): every block of `block` consecutive columns
// of a row is multiplied by a matrix, y_j = sum_k T[j, k] x_k, and stored or
// quantized at once.
#pragma once

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

// A transform of rows of `cols` columns. `block` is 16, 32, 64 or 128 and
// divides cols.
struct BlockTransform {
  const void* matrices;  // bfloat16 [cols / block, block, block] row-major, or
                         // one [block, block] for all blocks when `shared`
  int block;
  bool shared;
};

// y [rows, cols] = T x, of bfloat16 x, as bfloat16 or float32. The sums are
// taken by the matrix units in float32. To apply an inverse-transpose, give
// that matrix. y may not overlap x.
Status block_transform(const BlockTransform& transform, const void* x,
                       std::int64_t rows, std::int64_t cols, DataType y_type,
                       void* y, Stream stream);

// Transforms x and quantizes the float32 results: the codes and scales that
// `quantize` gives for the values that block_transform gives as float32.
//
// x is of `type`. No bit of it is lost: float16 enters the matrix units as two,
// float32 as three bfloat16 terms. The format's group divides the block, or
// block is 16 and the group is 16. first_bad receives the first column of a
// group that cannot be quantized.
Status block_transform_quantize(const BlockTransform& transform, Format format,
                                ScaleRule rule, float unit, DataType type,
                                const void* x, std::int64_t rows,
                                std::int64_t cols, const QuantizedOutput& out,
                                Stream stream);

}  // namespace wush::kernels::cuda
