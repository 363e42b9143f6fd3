// Where products go: the constant, the bias and the output's type.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_operands.cuh"

namespace wush::kernels::cuda {

struct MmaOutput {
  float constant;
  const float* bias;
  __nv_bfloat16* narrow;  // one of the two is null
  float* wide;

  __device__ void store(std::int64_t m, std::int64_t n, std::int64_t features,
                        float sum) const {
    const float value = finish(n, sum);
    write(m * features + n, value);
  }

  // What a lane holds of a tile of W x^T: of tokens m and m + 1 feature n, then
  // of both feature n + 8.
  __device__ void store(std::int64_t m, std::int64_t tokens, std::int64_t n,
                        std::int64_t features, const float4& sum) const {
    const float values[4] = {sum.x, sum.y, sum.z, sum.w};
    const std::int64_t first = m * features + n;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t row = n + i / 2 * 8;
      if (m + i % 2 >= tokens || row >= features) continue;
      const float value = finish(row, values[i]);
      write(first + i / 2 * 8 + (i % 2 == 0 ? 0 : features), value);
    }
  }

 private:
  __device__ float finish(std::int64_t n, float sum) const {
    float value = sum * constant;
    if (bias != nullptr) value += bias[n];
    return value;
  }
  __device__ void write(std::int64_t index, float value) const {
    if (wide != nullptr) {
      wide[index] = value;
    } else {
      narrow[index] = __float2bfloat16_rn(value);
    }
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
