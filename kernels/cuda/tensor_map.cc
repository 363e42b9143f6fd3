#include "kernels/cuda/tensor_map.h"

#include <string>

#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda {

Status encode_tensor_map(const char* kernel, const TensorMapSource& source,
                         CUtensorMap* map) {
  // Looked up at run time, so that nothing links to the driver.
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  if (const cudaError_t error =
          cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                           12000, cudaEnableDefault, &found);
      error != cudaSuccess || found != cudaDriverEntryPointSuccess) {
    return failure(kernel, {source.rows, source.cols},
                   "the driver has no cuTensorMapEncodeTiled");
  }
  const auto cols = static_cast<cuuint64_t>(source.cols);
  const cuuint64_t size[2] = {cols, static_cast<cuuint64_t>(source.rows)};
  const cuuint64_t stride[1] = {cols *
                                static_cast<cuuint64_t>(source.element_bytes)};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(source.box_cols),
                             static_cast<cuuint32_t>(source.box_rows)};
  const cuuint32_t element[2] = {1, 1};
  const int row_bytes = source.box_cols * source.element_bytes;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(
      function)(map, source.type, 2, const_cast<void*>(source.data), size,
                stride, box, element, CU_TENSOR_MAP_INTERLEAVE_NONE,
                row_bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                : row_bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                  : CU_TENSOR_MAP_SWIZZLE_NONE,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    return failure(kernel, {source.rows, source.cols},
                   "cuTensorMapEncodeTiled failed with " +
                       std::to_string(static_cast<int>(result)));
  }
  return {};
}

}  // namespace wush::kernels::cuda
