// y = x W^T with both operands packed.
#pragma once

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

struct MatmulOutput {
  DataType type;      // kBfloat16 or kFloat32
  void* y;            // [x.rows, w.rows] row-major
  const float* bias;  // [w.rows], or null
};

// Which kernel computes it. kAuto takes the fastest that the device and the
// shape allow; the others are for tests and measurements and are refused by
// name where they cannot run.
enum class MatmulKernel : std::uint8_t {
  kAuto,
  kSmall,      // few tokens: reads the weights once, mma.sync, sm_80; falls to
               // kPortable's tiles where cols is not a multiple of 32
  kFewHopper,  // the same by wgmma; sm_90a, cols a multiple of 256
  kBatch,      // 33 to 64 tokens of large weights: wgmma; sm_90a, cols a
               // multiple of 128
  kPortable,   // mma.sync on tiles of 128 x 128, sm_80
  kHopper,     // wgmma; sm_90a, cols a multiple of 32
  kBlockScaled,  // mma.sync with block_scale; sm_120a, mxfp4, mxfp4-ocp and
                 // nvfp4, cols a multiple of 64. Never been run.
  kTcgen05,      // tcgen05.mma with block_scale; sm_100a, mxfp4, mxfp4-ocp and
                 // nvfp4, cols a multiple of 32. Never been run.
};

// Bytes of device memory that fp4_matmul needs for these sizes on the current
// device (kHopper and kBatch: the activations as bfloat16, x.rows rounded up to
// a tile; kBatch: sums of tiles that blocks share, 17 MB on an H100).
Status fp4_matmul_workspace(MatmulKernel kernel, Format format,
                            std::int64_t x_rows, std::int64_t w_rows,
                            std::int64_t cols, std::int64_t* bytes);

// y[m, n] = unit_x unit_w sum_k x[m, k] w[n, k] (+ bias[n]), both operands
// decoded but for their units, accumulated in float32 by the tensor cores, the
// constant applied to the sum.
//
// Decoded e2m1 operands are exact in bfloat16 (mxfp4: scale bytes 0 .. 252, so
// that 6 times the scale is finite) and in float16 (nvfp4, kFewHopper), so the
// result differs from the group-exact reference (kernels/cpu/fp4_matmul.h) in
// accumulation only. kFewHopper's mxfp4 is that reference but for the order of
// the groups: their sums are exact. (Where scales of a token are more than 2^27
// apart within 256 columns, that takes 4 to 9 times as long.) int4 operands,
// (c + 1/2) step, need up to 12 significand bits and are rounded to bfloat16: a
// relative error of at most 2^-9 each; not by kSmall for one token, which adds
// exact integers within a group.
//
// cols is a multiple of the group; any x.rows, w.rows, also 0.
Status fp4_matmul(MatmulKernel kernel, Format format, std::int64_t cols,
                  const QuantizedMatrix& x, const QuantizedMatrix& w,
                  const MatmulOutput& out, void* workspace,
                  std::int64_t workspace_bytes, Stream stream);

}  // namespace wush::kernels::cuda
