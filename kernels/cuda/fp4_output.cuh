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
    float value = sum * constant;
    if (bias != nullptr) value += bias[n];
    const std::int64_t index = m * features + n;
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
