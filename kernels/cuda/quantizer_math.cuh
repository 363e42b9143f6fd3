// What the lanes of a warp do together with the values of a group, and the
// roundings of the group quantizer. Files that need its bits are compiled with
// -fmad=false.
#pragma once

#include <cstdint>

#include "kernels/cuda/ptx.cuh"
#include "kernels/numerics/mse2_decision.h"

namespace wush::kernels::cuda {

__device__ inline float exchange(float x, int lane_mask) {
  return __shfl_xor_sync(kFullWarp, x, lane_mask);
}

// max(a, |b|) of an a >= 0; NaN if either is.
__device__ inline float max_or_nan(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(fabsf(b)));
  return result;
}

// GroupQuantizer::halving_sum of the values that the lanes of a group hold, the
// lane's own eight being columns 8 t + i: sums of columns 16, 8, 4, 2, 1 apart.
// Lanes share the work of the first levels by keeping half of the columns each.
template <int kGroup>
__device__ inline float group_sum(const float (&s)[8]) {
  const bool odd_lane = (threadIdx.x & 1) != 0;
  float k[4];
  if constexpr (kGroup == 32) {
    const bool upper = (threadIdx.x & 2) != 0;  // keeps the odd columns
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float kept = upper ? s[2 * j + 1] : s[2 * j];
      k[j] = kept + exchange(upper ? s[2 * j] : s[2 * j + 1], 2);
    }
    float k2[2];
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      const float kept = odd_lane ? k[2 * q + 1] : k[2 * q];
      k2[q] = kept + exchange(odd_lane ? k[2 * q] : k[2 * q + 1], 1);
    }
    float sum = k2[0] + k2[1];
    sum += exchange(sum, 1);
    return sum + exchange(sum, 2);
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float kept = odd_lane ? s[2 * j + 1] : s[2 * j];
      k[j] = kept + exchange(odd_lane ? s[2 * j] : s[2 * j + 1], 1);
    }
    const float sum = (k[0] + k[2]) + (k[1] + k[3]);
    return sum + exchange(sum, 1);
  }
}

// The total of the values that the lanes of a group hold, the same bits in each
// of them; the order of the additions is not group_sum's.
template <int kGroup>
__device__ inline float add_lanes(float x) {
  x += exchange(x, 1);
  if constexpr (kGroup == 32) x += exchange(x, 2);
  return x;
}

// 1 / x to one ulp, of normal numbers.
__device__ inline float approximate_reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// The square root of x to 2^-23 of itself.
__device__ inline float approximate_root(float x) {
  float result;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// numerics::bfloat16_encode, but for the bits of a NaN. (The conversion of two
// values is four times as fast as that of one.)
__device__ inline unsigned round_to_bfloat16(float x) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(0.0f), "f"(x));
  return pair;
}

// kClamp is false where |v| < 7 is known.
template <bool kClamp>
__device__ inline numerics::RoundedE2m1 round_e2m1(float v) {
  if constexpr (kClamp) {
    float a;  // 6 for a NaN
    asm("min.f32 %0, %1, 0f40C00000;" : "=f"(a) : "f"(fabsf(v)));
    v = copysignf(a, v);
  }
  return numerics::round_e2m1(v);
}

}  // namespace wush::kernels::cuda
