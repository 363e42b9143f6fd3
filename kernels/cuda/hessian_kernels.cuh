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

  __device__ void add(std::int64_t row, std::int64_t column, float sum) const {
    if (row >= channels || column > row) return;
    const std::int64_t i = row * channels + column;
    const float old = h[i];
    const float total = old + sum;
    h[i] = total;
    if (residual == nullptr) return;
    // Knuth's two-sum: what `total` lacks, exactly.
    const float part = total - old;
    residual[i] += (old - (total - part)) + (sum - part);
  }
};

// Adds all tokens of x [tokens, channels], `chunk` at a time.
Status launch_hopper_hessian(const void* x, std::int64_t tokens,
                             std::int64_t chunk, const HessianOutput& out,
                             int multiprocessors, cudaStream_t stream);

}  // namespace wush::kernels::cuda
