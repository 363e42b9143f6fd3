// Sums of fp4_matmul_hopper.cu on their way to the output.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {

inline constexpr int kConsumers = 2;  // warpgroups with sums

struct HopperOutput {
  std::int64_t tokens;
  std::int64_t features;
  float constant;
  const float* bias;
  __nv_bfloat16* narrow;  // one of the two is null
  float* wide;

  __device__ void store(std::int64_t token, std::int64_t feature,
                        float sum) const {
    if (token >= tokens || feature >= features) return;
    const float value =
        sum * constant + (bias != nullptr ? bias[feature] : 0.0f);
    if (wide != nullptr) {
      wide[token * features + feature] = value;
    } else {
      narrow[token * features + feature] = __float2bfloat16_rn(value);
    }
  }
};

__device__ inline void warpgroup_sync(int warpgroup) {
  asm volatile("bar.sync %0, 128;" ::"r"(warpgroup + 1) : "memory");
}

__device__ inline void store_transposed(void* to, const unsigned (&r)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::
          "r"(shared_address(to)),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}

// Stores a warpgroup's 64 features by kTokens tokens as bfloat16: transposed
// into shared memory [token][64 features], pieces of 16 bytes swizzled, and
// from there in whole lines.
template <int kTokens>
__device__ inline void store_narrow(const float (&sums)[kTokens / 2],
                                    unsigned char* staging,
                                    const HopperOutput& out,
                                    std::int64_t feature, std::int64_t token,
                                    int warpgroup) {
  const int thread = threadIdx.x & 127, warp = thread >> 5;
  const int lane = thread & 31, g = lane >> 2;
  const std::int64_t row = feature + 16 * warp + g;
  const bool has_bias = out.bias != nullptr;
  const float upper = has_bias && row < out.features ? out.bias[row] : 0.0f;
  const float lower =
      has_bias && row + 8 < out.features ? out.bias[row + 8] : 0.0f;
  warpgroup_sync(warpgroup);  // the last tile has left the staging
#pragma unroll
  for (int j = 0; j < kTokens / 8; j += 2) {
    unsigned r[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int base = 4 * (j + i / 2) + 2 * (i % 2);
      const float bias = i % 2 == 0 ? upper : lower;
      const __nv_bfloat162 pair =
          __floats2bfloat162_rn(sums[base] * out.constant + bias,
                                sums[base + 1] * out.constant + bias);
      r[i] = *reinterpret_cast<const unsigned*>(&pair);
    }
    // Lanes 8 i .. 8 i + 7 give the rows of matrix i: tokens of tile j + i / 2,
    // features 8 (i % 2) of the warp's 16.
    const int to = 8 * (j + (lane >> 4)) + (lane & 7);
    const int piece = 2 * warp + (lane >> 3 & 1);
    store_transposed(staging + to * 128 + ((piece ^ (to & 7)) << 4), r);
  }
  warpgroup_sync(warpgroup);
  const bool whole_pieces = out.features % 8 == 0;
  for (int i = thread; i < kTokens * 8; i += 128) {
    const int m = i >> 3, piece = i & 7;
    const std::int64_t n = feature + 8 * piece;
    if (token + m >= out.tokens || n >= out.features) continue;
    const auto* from = reinterpret_cast<const uint4*>(staging + m * 128 +
                                                      ((piece ^ (m & 7)) << 4));
    __nv_bfloat16* to = out.narrow + (token + m) * out.features + n;
    if (whole_pieces) {
      *reinterpret_cast<uint4*>(to) = *from;
    } else {
      const auto* values = reinterpret_cast<const __nv_bfloat16*>(from);
      for (int k = 0; k < 8 && n + k < out.features; ++k) to[k] = values[k];
    }
  }
}

// As float32, straight from registers: eight lanes write 32 contiguous bytes.
template <int kTokens>
__device__ inline void store_wide(const float (&sums)[kTokens / 2],
                                  const HopperOutput& out, std::int64_t feature,
                                  std::int64_t token) {
  const int lane = threadIdx.x & 31, warp = (threadIdx.x & 127) >> 5;
  const int g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t n = feature + 16 * warp + g + 8 * half;
    if (n >= out.features) continue;
    const float bias = out.bias != nullptr ? out.bias[n] : 0.0f;
#pragma unroll
    for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const std::int64_t m = token + 8 * j + 2 * t + i;
        if (m < out.tokens) {
          out.wide[m * out.features + n] =
              sums[4 * j + 2 * half + i] * out.constant + bias;
        }
      }
    }
  }
}

// Adds the blocks' sums of a tile and stores them, a part by each block of the
// cluster. `sums` are of a consumer's thread, null for the producer's; `memory`
// is free.
template <int kTokens>
__device__ inline void share_sums(const float* sums, unsigned char* memory,
                                  const HopperOutput& out, std::int64_t feature,
                                  std::int64_t token, int blocks) {
  constexpr int kFours = kTokens / 8, kConsumerThreads = 128 * kConsumers;
  const int thread = threadIdx.x, g = thread % 32 / 4, t = thread % 4;
  auto* own = reinterpret_cast<float4*>(memory) + thread;
  if (sums != nullptr) {
    // Until both warpgroups have read the last stages.
    asm volatile("bar.sync %0, %1;" ::"n"(kConsumers + 1), "n"(kConsumerThreads)
                 : "memory");
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      own[i * kConsumerThreads] = make_float4(sums[4 * i], sums[4 * i + 1],
                                              sums[4 * i + 2], sums[4 * i + 3]);
    }
  }
  __syncwarp();
  cluster_sync();
  if (sums != nullptr) {
    const int rank = cluster_rank();
    const std::int64_t n = feature + thread / 32 * 16 + g;
    for (int i = kFours * rank / blocks; i < kFours * (rank + 1) / blocks;
         ++i) {
      float4 sum = load_shared_of(own + i * kConsumerThreads, 0);
      for (int block = 1; block < blocks; ++block) {
        const float4 more = load_shared_of(own + i * kConsumerThreads, block);
        sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
      }
      const std::int64_t m = token + 8 * i + 2 * t;
      out.store(m, n, sum.x);
      out.store(m + 1, n, sum.y);
      out.store(m, n + 8, sum.z);
      out.store(m + 1, n + 8, sum.w);
    }
  }
  __syncwarp();
  cluster_sync();  // until all have read
}

}  // namespace wush::kernels::cuda
