// Matrix products by mma.sync, from sm_80 on. Both operands go from packed words
// to matrix instructions through registers alone.
//
// Few tokens (small): bound by reading the weights. A block of eight warps
// computes 16 kTiles features by 8 kTokenTiles tokens. The warps split the
// columns, chunk by chunk in turn, so that together they read whole lines of
// each weight row; their sums are added in shared memory in the order of the
// warps.
//
// Many tokens (portable): the warps of a block cover 128 features by 128 tokens,
// each with all columns; neighbours meet in the first-level cache.
#include <algorithm>

#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {
namespace {

constexpr int kWarps = 8;

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

template <Family F, int kTiles, int kTokenTiles>
struct Chunk {
  LaneWords<F> w[kTiles][2];
  LaneWords<F> x[kTokenTiles];

  __device__ void load(const OperandRows<F>& weights,
                       const OperandRows<F>& tokens, std::int64_t feature,
                       std::int64_t token, std::int64_t column) {
    const int g = (threadIdx.x & 31) >> 2;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      w[i][0].load(weights, feature + 16 * i + g, column);
      w[i][1].load(weights, feature + 16 * i + g + 8, column);
    }
#pragma unroll
    for (int i = 0; i < kTokenTiles; ++i) {
      x[i].load(tokens, token + 8 * i + g, column);
    }
  }

  // sum += the chunk's products.
  __device__ void multiply(float (&sum)[kTiles][kTokenTiles][4]) const {
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      unsigned b[kTokenTiles][4];
#pragma unroll
      for (int i = 0; i < kTokenTiles; ++i) {
        expand_word<F>(x[i].word(word), x[i].multiplier(word), b[i]);
      }
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        unsigned upper[4], lower[4];
        expand_word<F>(w[i][0].word(word), w[i][0].multiplier(word), upper);
        expand_word<F>(w[i][1].word(word), w[i][1].multiplier(word), lower);
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          const unsigned a[4] = {upper[2 * s], lower[2 * s], upper[2 * s + 1],
                                 lower[2 * s + 1]};
#pragma unroll
          for (int j = 0; j < kTokenTiles; ++j) {
            multiply_accumulate(sum[i][j], a, b[j][2 * s], b[j][2 * s + 1]);
          }
        }
      }
    }
  }
};

template <Family F, int kTiles, int kTokenTiles>
__global__ __launch_bounds__(kWarps * 32) void small_matmul_kernel(
    OperandRows<F> weights, OperandRows<F> tokens, MmaOutput out) {
  constexpr int kFeatures = 16 * kTiles, kTokens = 8 * kTokenTiles;
  extern __shared__ float partial[];  // [warps][tokens][features]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int g = lane >> 2, t = lane & 3;
  const std::int64_t feature = blockIdx.x * std::int64_t{kFeatures};
  const std::int64_t token = blockIdx.y * std::int64_t{kTokens};
  constexpr int kStep = kWarps * kChunkColumns;

  float sum[kTiles][kTokenTiles][4] = {};
  std::int64_t column = warp * kChunkColumns + 32 * t;
  Chunk<F, kTiles, kTokenTiles> current, next;
  current.load(weights, tokens, feature, token, column);
  // All lanes stay as long as the chunk's first column is inside.
  for (; column - 32 * t < weights.cols; column += kStep) {
    next.load(weights, tokens, feature, token, column + kStep);
    current.multiply(sum);
    current = next;
  }

#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int n = 16 * i + g + (r >= 2 ? 8 : 0);
        const int m = 8 * j + 2 * t + (r & 1);
        partial[(warp * kTokens + m) * kFeatures + n] = sum[i][j][r];
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kTokens * kFeatures; i += kWarps * 32) {
    const std::int64_t m = token + i / kFeatures, n = feature + i % kFeatures;
    if (m >= tokens.rows || n >= weights.rows) continue;
    float total = partial[i];
#pragma unroll
    for (int k = 1; k < kWarps; ++k) {
      total += partial[k * kTokens * kFeatures + i];
    }
    out.store(m, n, weights.rows, total);
  }
}

constexpr int kPortableTile = 128;

template <Family F>
__global__ __launch_bounds__(kWarps * 32) void portable_matmul_kernel(
    OperandRows<F> weights, OperandRows<F> tokens, MmaOutput out) {
  constexpr int kTiles = 4, kTokenTiles = 4;  // a warp: 64 features, 32 tokens
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int g = lane >> 2, t = lane & 3;
  const std::int64_t feature =
      blockIdx.x * std::int64_t{kPortableTile} + warp / 4 * 64;
  const std::int64_t token =
      blockIdx.y * std::int64_t{kPortableTile} + warp % 4 * 32;
  float sum[kTiles][kTokenTiles][4] = {};
  Chunk<F, kTiles, kTokenTiles> chunk;
  for (std::int64_t column = 0; column < weights.cols;
       column += kChunkColumns) {
    chunk.load(weights, tokens, feature, token, column + 32 * t);
    chunk.multiply(sum);
  }
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const std::int64_t n = feature + 16 * i + g + (r >= 2 ? 8 : 0);
        const std::int64_t m = token + 8 * j + 2 * t + (r & 1);
        if (m < tokens.rows && n < weights.rows) {
          out.store(m, n, weights.rows, sum[i][j][r]);
        }
      }
    }
  }
}

template <Family F>
MmaOutput make_output(const MatmulProblem& p) {
  const bool wide = p.out.type == DataType::kFloat32;
  return {p.constant * kOperandScale<F> * kOperandScale<F>, p.out.bias,
          wide ? nullptr : static_cast<__nv_bfloat16*>(p.out.y),
          wide ? static_cast<float*>(p.out.y) : nullptr};
}

template <Family F, int kTiles, int kTokenTiles>
cudaError_t launch(const MatmulProblem& p) {
  constexpr int kBytes = kWarps * 16 * kTiles * 8 * kTokenTiles * 4;
  auto* kernel = small_matmul_kernel<F, kTiles, kTokenTiles>;
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
      error != cudaSuccess) {
    return error;
  }
  const dim3 grid(
      static_cast<unsigned>(ceil_div(p.features, 16 * kTiles)),
      static_cast<unsigned>(ceil_div(p.tokens, 8 * kTokenTiles)));
  kernel<<<grid, kWarps * 32, kBytes, p.stream>>>(
      {p.w.codes, p.w.scales, p.features, p.cols},
      {p.x.codes, p.x.scales, p.tokens, p.cols}, make_output<F>(p));
  return cudaGetLastError();
}

template <Family F>
cudaError_t launch_family(const MatmulProblem& p) {
  if (p.tokens <= 8) return launch<F, 2, 1>(p);
  if (p.tokens <= 16) return launch<F, 2, 2>(p);
  return launch<F, 2, 4>(p);
}

template <Family F>
cudaError_t launch_portable(const MatmulProblem& p) {
  const dim3 grid(static_cast<unsigned>(ceil_div(p.features, kPortableTile)),
                  static_cast<unsigned>(ceil_div(p.tokens, kPortableTile)));
  portable_matmul_kernel<F><<<grid, kWarps * 32, 0, p.stream>>>(
      {p.w.codes, p.w.scales, p.features, p.cols},
      {p.x.codes, p.x.scales, p.tokens, p.cols}, make_output<F>(p));
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_small_matmul(const MatmulProblem& problem) {
  switch (family_of(problem.format)) {
    case Family::kPowerOfTwo:
      return launch_family<Family::kPowerOfTwo>(problem);
    case Family::kE4m3:
      return launch_family<Family::kE4m3>(problem);
    case Family::kStep:
      break;
  }
  return launch_family<Family::kStep>(problem);
}

cudaError_t launch_portable_matmul(const MatmulProblem& problem) {
  switch (family_of(problem.format)) {
    case Family::kPowerOfTwo:
      return launch_portable<Family::kPowerOfTwo>(problem);
    case Family::kE4m3:
      return launch_portable<Family::kE4m3>(problem);
    case Family::kStep:
      break;
  }
  return launch_portable<Family::kStep>(problem);
}

}  // namespace wush::kernels::cuda
