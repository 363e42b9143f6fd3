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
    add_at(row * channels + column, sum);
  }

  // Adds sums[i] to columns `column` + 8 i and the next of a row; channels and
  // column are even. Nobody else adds to them at the same time. Where the old
  // value is not needed the second-level cache adds, with the same rounding but
  // that subnormal numbers become zeros, and nothing waits for it; otherwise
  // all loads come before the first store, which the compiler could not
  // arrange: one after the other, each waits for the memory.
  template <int kPairs>
  __device__ void add_pairs(std::int64_t row, std::int64_t column,
                            const float2 (&sums)[kPairs]) const {
    if (row >= channels || column > row) return;
    const std::int64_t first = row * channels + column;
    if (residual == nullptr) {
#pragma unroll
      for (int i = 0; i < kPairs; ++i) {
        if (column + 8 * i < row) {
          add_in_cache(h + first + 8 * i, sums[i]);
        } else if (column + 8 * i == row) {
          add_at(first + 8 * i, sums[i].x);
        }
      }
      return;
    }
    if (column + 8 * kPairs > row) {  // at the diagonal
#pragma unroll
      for (int i = 0; i < kPairs; ++i) {
        if (column + 8 * i <= row) add_at(first + 8 * i, sums[i].x);
        if (column + 8 * i < row) add_at(first + 8 * i + 1, sums[i].y);
      }
      return;
    }
    float2 old[kPairs];
#pragma unroll
    for (int i = 0; i < kPairs; ++i) old[i] = *pair(h, first + 8 * i);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      float2 lacks = make_float2(0, 0);
      *pair(h, first + 8 * i) =
          make_float2(two_sum(old[i].x, sums[i].x, &lacks.x),
                      two_sum(old[i].y, sums[i].y, &lacks.y));
      add_in_cache(residual + first + 8 * i, lacks);
    }
  }

 private:
  __device__ static void add_in_cache(float* to, float2 sums) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.relaxed.gpu.global.add.v2.f32 [%0], {%1, %2};" ::"l"(to),
                 "f"(sums.x), "f"(sums.y)
                 : "memory");
#endif
  }
  __device__ void add_at(std::int64_t i, float sum) const {
    float lacks = residual != nullptr ? residual[i] : 0.0f;
    h[i] = two_sum(h[i], sum, &lacks);
    if (residual != nullptr) residual[i] = lacks;
  }
  __device__ static float2* pair(float* from, std::int64_t index) {
    return reinterpret_cast<float2*>(from + index);
  }
};

// Adds all tokens of x [tokens, channels], `chunk` at a time.
Status launch_hopper_hessian(const void* x, std::int64_t tokens,
                             std::int64_t chunk, const HessianOutput& out,
                             int multiprocessors, cudaStream_t stream);

}  // namespace wush::kernels::cuda
