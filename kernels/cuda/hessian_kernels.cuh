// What the two Hessian kernels share.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

inline constexpr const char* kHessianName = "accumulate_hessian";

// The result, and how a sum joins it.
struct HessianOutput {
  float* h;
  float* residual;  // or null
  std::int64_t channels;

  // Knuth's two-sum: total + what it lacks = old + sum, exactly.
  __device__ static float two_sum(float old, float sum, float* lacks) {
    const float total = old + sum;
    const float part = total - old;
    *lacks += (old - (total - part)) + (sum - part);
    return total;
  }

  __device__ void add(std::int64_t row, std::int64_t column, float sum) const {
    if (row >= channels || column > row) return;
    const std::int64_t i = row * channels + column;
    float lacks = residual != nullptr ? residual[i] : 0.0f;
    h[i] = two_sum(h[i], sum, &lacks);
    if (residual != nullptr) residual[i] = lacks;
  }

  // Columns `column` and the next; channels and column are even.
  __device__ void add_pair(std::int64_t row, std::int64_t column, float a,
                           float b) const {
    if (row >= channels || column > row) return;
    if (column + 1 > row) return add(row, column, a);
    const std::int64_t i = row * channels + column;
    auto* to = reinterpret_cast<float2*>(h + i);
    float2 lacks = make_float2(0, 0);
    if (residual != nullptr) lacks = *reinterpret_cast<float2*>(residual + i);
    const float2 old = *to;
    *to = make_float2(two_sum(old.x, a, &lacks.x), two_sum(old.y, b, &lacks.y));
    if (residual != nullptr) *reinterpret_cast<float2*>(residual + i) = lacks;
  }
};

// Adds all tokens of x [tokens, channels], `chunk` at a time.
Status launch_hopper_hessian(const void* x, std::int64_t tokens,
                             std::int64_t chunk, const HessianOutput& out,
                             int multiprocessors, cudaStream_t stream);

}  // namespace wush::kernels::cuda
