#include <algorithm>
#include <bit>
#include <type_traits>

#include "kernels/cuda/block_transform.cuh"
#include "kernels/cuda/block_transform.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/octet.cuh"

namespace wush::kernels::cuda {
namespace {

template <class Out>
struct StoreEpilogue {
  struct Shared {};
  static constexpr int kBlocks = 2;
  // More blocks than run at once mix their reads and writes better: on an H100,
  // in blocks of 32, 1.02 of a copy's time with 2 or 3 tiles a warp, 1.04 with
  // 4, 1.07 with 8; in blocks of 128 1.08 with 2, 1.10 with 3 (8192 x 8192).
  static constexpr int kMostTiles = 2;
  Out* y;
  __device__ void prepare(Shared&) const {}

  struct Lane {
    Out* to;
    bool inside[2];

    __device__ Lane(const StoreEpilogue& e, const TransformShape& shape,
                    std::int64_t row, std::int64_t column)
        : to(e.y + row * shape.cols + column + 8 * lane_t()) {
      inside[0] = column + 8 * lane_t() < shape.cols;
      inside[1] = column + 8 * lane_t() + 32 < shape.cols;
    }
    __device__ void take(const StoreEpilogue&, Shared&,
                         const TransformShape& shape, std::int64_t row,
                         bool whole, const float (&sums)[2][4][4]) const {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int slab = i / 2, half = i % 2;
        if (!whole && (row + 8 * half >= shape.rows || !inside[slab])) continue;
        float v[8];
        slab_octet(sums[slab], half, v);
        store_octet(to + half * 8 * shape.cols + 32 * slab, v);
      }
    }
    __device__ void advance(const TransformShape& shape, std::int64_t rows) {
      to += rows * shape.cols;
    }
  };
};

}  // namespace

Status check_transform(const char* name, const BlockTransform& transform,
                       std::int64_t rows, std::int64_t cols) {
  const int block = transform.block;
  if (block != 16 && block != 32 && block != 64 && block != 128) {
    return failure(name, {rows, cols, block},
                   "the transform block must be 16, 32, 64 or 128");
  }
  if (rows < 0 || cols < 0 || cols > 1 << 30 || cols % block != 0) {
    return failure(
        name, {rows, cols, block},
        "columns must be a multiple of the transform block, at most 2^30");
  }
  return {};
}

Status make_transform_call(const BlockTransform& transform, const void* x,
                           std::int64_t rows, std::int64_t cols, Stream stream,
                           TransformCall* call) {
  DeviceInfo info;
  if (Status s = device_info(&info); !s.ok()) return s;
  const int block = transform.block;
  *call = {x,
           static_cast<const __nv_bfloat16*>(transform.matrices),
           {rows, cols, block, std::countr_zero(static_cast<unsigned>(block)),
            transform.shared ? 0 : block * block},
           info.multiprocessors,
           stream};
  return {};
}

Status block_transform(const BlockTransform& transform, const void* x,
                       std::int64_t rows, std::int64_t cols, DataType y_type,
                       void* y, Stream stream) {
  constexpr const char* kName = "block_transform";
  if (Status s = check_transform(kName, transform, rows, cols); !s.ok()) {
    return s;
  }
  if (!aligned({transform.matrices, x, y})) {
    return failure(kName, {rows, cols}, "pointers must be 16-byte aligned");
  }
  if (rows * cols == 0) return {};
  TransformCall call;
  if (Status s = make_transform_call(transform, x, rows, cols, stream, &call);
      !s.ok()) {
    return s;
  }
  if (y_type == DataType::kFloat16) {
    return failure(kName, {rows, cols}, "float16 output is not supported");
  }
  const cudaError_t error =
      y_type == DataType::kFloat32
          ? launch_transform<__nv_bfloat16>(
                call, StoreEpilogue<float>{static_cast<float*>(y)})
          : launch_transform<__nv_bfloat16>(
                call,
                StoreEpilogue<__nv_bfloat16>{static_cast<__nv_bfloat16*>(y)});
  return check(error, kName, {rows, cols, transform.block});
}

}  // namespace wush::kernels::cuda
