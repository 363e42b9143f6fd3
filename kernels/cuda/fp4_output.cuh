// Where products go: the constant, the bias and the output's type.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_operands.cuh"

namespace wush::kernels::cuda {

// Outputs from a token and a feature on: what is the same for a tile is
// found once, and bounds are narrow, which saves a third of the instructions.
struct MmaTile {
  float constant;
  const float* bias;  // of the first feature
  __nv_bfloat16* narrow;
  float* wide;
  std::int64_t stride;   // between tokens
  int tokens, features;  // that there are

  // What a lane holds of a tile of W x^T: of tokens m and m + 1 feature n, then
  // of both feature n + 8.
  __device__ void store(int m, int n, const float4& sum) const {
    if (m >= tokens || n >= features) return;
    const bool second = m + 1 < tokens, upper = n + 8 < features;
    float4 value = make_float4(sum.x * constant, sum.y * constant,
                               sum.z * constant, sum.w * constant);
    if (bias != nullptr) {
      const float lower_bias = bias[n], upper_bias = upper ? bias[n + 8] : 0.0f;
      value.x += lower_bias, value.y += lower_bias;
      value.z += upper_bias, value.w += upper_bias;
    }
    const std::int64_t place = m * stride + n;
    if (wide != nullptr) {
      float* to = wide + place;
      to[0] = value.x;
      if (second) to[stride] = value.y;
      if (upper) to[8] = value.z;
      if (second && upper) to[stride + 8] = value.w;
    } else {
      __nv_bfloat16* to = narrow + place;
      const __nv_bfloat162 pair[2] = {__floats2bfloat162_rn(value.x, value.y),
                                      __floats2bfloat162_rn(value.z, value.w)};
      to[0] = pair[0].x;
      if (second) to[stride] = pair[0].y;
      if (upper) to[8] = pair[1].x;
      if (second && upper) to[stride + 8] = pair[1].y;
    }
  }
};

struct MmaOutput {
  float constant;
  const float* bias;
  __nv_bfloat16* narrow;  // one of the two is null
  float* wide;

  __device__ void store(std::int64_t m, std::int64_t n, std::int64_t features,
                        float sum) const {
    float value = sum * constant;
    if (bias != nullptr) value += bias[n];
    const std::int64_t place = m * features + n;
    if (wide != nullptr) {
      wide[place] = value;
    } else {
      narrow[place] = __float2bfloat16_rn(value);
    }
  }

  // Of `tokens` and `features` in all; a tile ends within 2^30 of either.
  __device__ MmaTile tile(std::int64_t m, std::int64_t tokens, std::int64_t n,
                          std::int64_t features) const {
    constexpr std::int64_t kMost = 1 << 30;
    const std::int64_t first = m * features + n;
    return {constant,
            bias == nullptr ? nullptr : bias + n,
            narrow == nullptr ? nullptr : narrow + first,
            wide == nullptr ? nullptr : wide + first,
            features,
            static_cast<int>(min(tokens - m, kMost)),
            static_cast<int>(min(features - n, kMost))};
  }
};

// For sums that are the products over p.constant.
inline MmaOutput make_output(const MatmulProblem& p) {
  const bool wide = p.out.type == DataType::kFloat32;
  return {p.constant, p.out.bias,
          wide ? nullptr : static_cast<__nv_bfloat16*>(p.out.y),
          wide ? static_cast<float*>(p.out.y) : nullptr};
}
// For sums of operands as expand_word decodes them.
template <Family F>
MmaOutput make_output(const MatmulProblem& p) {
  MmaOutput out = make_output(p);
  out.constant *= kOperandScale<F> * kOperandScale<F>;  // powers of two
  return out;
}

}  // namespace wush::kernels::cuda
