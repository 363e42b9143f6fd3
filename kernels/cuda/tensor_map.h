// Descriptors of the tensor copies of sm_90 and later; only for .cc and .cu
// files of this folder.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/status.h"

namespace wush::kernels::cuda {

// A row-major matrix [rows, cols] of elements of `type`, `element_bytes` each,
// copied in boxes of box_rows by box_cols; rows of a box are 128 or 32 bytes,
// which are swizzled, or 16. Outside of the matrix are zeros. A failure names
// `kernel` and the shape.
struct TensorMapSource {
  const void* data;  // 16-byte aligned, as is every row
  std::int64_t rows, cols;
  CUtensorMapDataType type;
  int element_bytes;
  int box_rows, box_cols;
};
Status encode_tensor_map(const char* kernel, const TensorMapSource& source,
                         CUtensorMap* map);

}  // namespace wush::kernels::cuda
