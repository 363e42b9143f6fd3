// Matrix products by mma.sync, from sm_80 on. Both operands go from packed
// words to matrix instructions through registers alone.
//
// Few tokens (small), where fp4_matvec.cu and fp4_matmul_few.cu do not take
// them (no clusters, or columns not a multiple of 128): bound by reading the
// weights. A block of eight warps computes 16 kTiles features by 8 kTokenTiles
// tokens. The warps split the columns, chunk by chunk in turn, so that together
// they read whole lines of each weight row; their sums are added in shared
// memory in the order of the warps.
//
// Many tokens (portable): the warps of a block cover 128 features by 128
// tokens, each with all columns; neighbours meet in the first-level cache.
#include <algorithm>

#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {
namespace {

constexpr int kWarps = 8;

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

// Sums of the eight warps, in the order of the warps, from shared memory
// [warps][tokens][features] to y.
template <int kFeatures, int kTokens>
__device__ inline void add_warps(const float* partial, std::int64_t feature,
                                 std::int64_t token, std::int64_t features,
                                 std::int64_t tokens, const MmaOutput& out) {
  for (int i = threadIdx.x; i < kTokens * kFeatures; i += kWarps * 32) {
    const std::int64_t m = token + i / kFeatures, n = feature + i % kFeatures;
    if (m >= tokens || n >= features) continue;
    float total = partial[i];
#pragma unroll
    for (int k = 1; k < kWarps; ++k) {
      total += partial[k * kTokens * kFeatures + i];
    }
    out.store(m, n, features, total);
  }
}

template <int kTiles, int kTokenTiles>
__device__ inline void keep_sums(const float (&sum)[kTiles][kTokenTiles][4],
                                 float* partial) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int n = 16 * i + g + (r >= 2 ? 8 : 0);
        const int m = 8 * j + 2 * t + (r & 1);
        partial[m * 16 * kTiles + n] = sum[i][j][r];
      }
    }
  }
}

// A lane's rows of a chunk: 2 kTiles of the weights, then kTokenTiles of the
// tokens, each 8 rows after the last. Words come through shared memory, where
// every lane reads back only what it copied; scales through registers.
template <Family F, int kTiles, int kTokenTiles>
struct SmallRows {
  static constexpr int kWeightRows = 2 * kTiles;
  static constexpr int kRows = kWeightRows + kTokenTiles;
  // What lets two blocks share a multiprocessor.
  static constexpr int kStages = kTiles == 4 ? 2 : 4;
  using Stage = uint4[kRows][32];

  const std::uint8_t* codes[2];  // weights, tokens: the lane's first row
  const std::uint8_t* scales[2];
  std::int64_t code_pitch, scale_pitch;  // bytes of eight rows
  unsigned inside;                       // one bit for each row
  std::int64_t cols;

  __device__ SmallRows(const OperandRows<F>& w, const OperandRows<F>& x,
                       std::int64_t feature, std::int64_t token)
      : inside(0), cols(w.cols) {
    constexpr int kBytes = F == Family::kStep ? 2 : 1;
    const int lane = threadIdx.x & 31, g = lane >> 2;
    const std::int64_t groups = cols / group_of(F);
    code_pitch = 4 * cols;
    scale_pitch = 8 * groups * kBytes;
    const OperandRows<F>* operands[2] = {&w, &x};
    const std::int64_t first[2] = {feature + g, token + g};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      codes[i] = operands[i]->codes + first[i] * (cols / 2);
      scales[i] = static_cast<const std::uint8_t*>(operands[i]->scales) +
                  first[i] * groups * kBytes;
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const bool weight = r < kWeightRows;
      const std::int64_t row =
          weight ? first[0] + 8 * r : first[1] + 8 * (r - kWeightRows);
      if (row < operands[weight ? 0 : 1]->rows) inside |= 1u << r;
    }
  }

  __device__ static int place(int r) {
    return r < kWeightRows ? r : r - kWeightRows;
  }

  __device__ void start(Stage& stage, std::int64_t column) const {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      copy_async_16(
          &stage[r][lane],
          codes[r < kWeightRows ? 0 : 1] + place(r) * code_pitch + column / 2,
          (inside >> r & 1) != 0 && column < cols);
    }
    commit_copies();
  }

  __device__ void load_scales(unsigned (&bits)[kRows],
                              std::int64_t column) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const bool valid = (inside >> r & 1) != 0 && column < cols;
      const std::uint8_t* p =
          scales[r < kWeightRows ? 0 : 1] + place(r) * scale_pitch;
      if constexpr (F == Family::kPowerOfTwo) {
        bits[r] = valid ? __ldg(p + column / 32) : 0;
      } else {
        bits[r] =
            valid
                ? __ldg(reinterpret_cast<const std::uint16_t*>(p + column / 16))
                : 0;
      }
    }
  }

  // Multiplier of the codes of word `i`; a row outside has scale 0, which every
  // family takes to a finite factor, and codes 0.
  template <bool kNarrow>
  __device__ static unsigned multiplier(unsigned bits, int i) {
    if constexpr (F == Family::kE4m3) {
      return operand_multiplier<F>(i < 2 ? bits & 0xffu : bits >> 8);
    } else if constexpr (kNarrow) {
      return narrow_multiplier(bits);
    } else {
      return operand_multiplier<F>(bits);
    }
  }

  template <bool kNarrow>
  __device__ static void multiply(const Stage& stage,
                                  const unsigned (&bits)[kRows],
                                  float (&sum)[kTiles][kTokenTiles][4]) {
    uint4 words[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) words[r] = stage[r][threadIdx.x & 31];
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      const auto expand = [&](int r, unsigned(&out)[4]) {
        const unsigned w = word == 0   ? words[r].x
                           : word == 1 ? words[r].y
                           : word == 2 ? words[r].z
                                       : words[r].w;
        expand_word<F, kNarrow>(w, multiplier<kNarrow>(bits[r], word), out);
      };
      unsigned b[kTokenTiles][4];
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) expand(kWeightRows + j, b[j]);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        unsigned upper[4], lower[4];
        expand(2 * i, upper);
        expand(2 * i + 1, lower);
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

// Whether all scales of the warp's chunk allow the narrow multiplication.
template <int kRows>
__device__ inline bool all_narrow(const unsigned (&bits)[kRows],
                                  unsigned inside) {
  bool narrow = true;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    narrow &= is_narrow(bits[r]) || (inside >> r & 1) == 0;
  }
  return __all_sync(kFullWarp, narrow) != 0;
}

// Needs cols % 32 == 0.
template <Family F, int kTiles, int kTokenTiles>
__global__ __launch_bounds__(
    kWarps * 32, kTiles* kTokenTiles <= 8
                     ? 2
                     : 1) void small_matmul_kernel(OperandRows<F> weights,
                                                   OperandRows<F> tokens,
                                                   MmaOutput out) {
  using Rows = SmallRows<F, kTiles, kTokenTiles>;
  constexpr int kFeatures = 16 * kTiles, kTokens = 8 * kTokenTiles;
  constexpr int kStep = kWarps * kChunkColumns;
  extern __shared__ uint4 dynamic[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  auto& ring =
      reinterpret_cast<typename Rows::Stage(*)[Rows::kStages]>(dynamic)[warp];
  const std::int64_t feature = blockIdx.x * std::int64_t{kFeatures};
  const std::int64_t token = blockIdx.y * std::int64_t{kTokens};
  const Rows rows(weights, tokens, feature, token);

  // mxfp4 sums lack the narrow operands' powers of two until the first chunk
  // with scales out of the narrow range, which is rare.
  constexpr float kMissing = 0x1p40f;
  static_assert(kMissing == 1ull << (2 * kNarrowShift));
  bool wide = F != Family::kPowerOfTwo;
  const auto widen = [&](float(&values)[kTiles][kTokenTiles][4]) {
    wide = true;
#pragma unroll
    for (int i = 0; i < kTiles * kTokenTiles * 4; ++i) {
      values[i / 4 / kTokenTiles][i / 4 % kTokenTiles][i % 4] *= kMissing;
    }
  };
  float sum[kTiles][kTokenTiles][4] = {};
  const int first = warp * kChunkColumns;
  std::int64_t column = first + 32 * (lane & 3);
#pragma unroll
  for (int s = 0; s < Rows::kStages; ++s) {
    rows.start(ring[s], column + s * kStep);
  }
  unsigned bits[Rows::kRows], next[Rows::kRows];
  rows.load_scales(bits, column);
  int stage = 0;
  for (std::int64_t c = first; c < weights.cols; c += kStep) {
    rows.load_scales(next, column + kStep);
    wait_copies<Rows::kStages - 1>();
    if constexpr (F == Family::kPowerOfTwo) {
      if (!wide && !all_narrow(bits, rows.inside)) widen(sum);
      if (!wide) Rows::template multiply<true>(ring[stage], bits, sum);
    }
    if (wide) Rows::template multiply<false>(ring[stage], bits, sum);
    rows.start(ring[stage], column + Rows::kStages * kStep);
    stage = stage + 1 == Rows::kStages ? 0 : stage + 1;
    column += kStep;
#pragma unroll
    for (int r = 0; r < Rows::kRows; ++r) bits[r] = next[r];
  }
  if (!wide) widen(sum);
  wait_copies<0>();
  __syncthreads();  // the ring becomes the partial sums
  auto* partial = reinterpret_cast<float*>(dynamic);
  keep_sums<kTiles, kTokenTiles>(sum, partial + warp * kTokens * kFeatures);
  __syncthreads();
  add_warps<kFeatures, kTokens>(partial, feature, token, weights.rows,
                                tokens.rows, out);
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

template <Family F, int kTiles, int kTokenTiles>
cudaError_t launch(const MatmulProblem& p) {
  using Rows = SmallRows<F, kTiles, kTokenTiles>;
  constexpr int kRing = kWarps * Rows::kStages * sizeof(typename Rows::Stage);
  constexpr int kPartial = kWarps * 16 * kTiles * 8 * kTokenTiles * 4;
  constexpr int kBytes = std::max(kRing, kPartial);
  auto* kernel = small_matmul_kernel<F, kTiles, kTokenTiles>;
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
      error != cudaSuccess) {
    return error;
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(p.features, 16 * kTiles)),
                  static_cast<unsigned>(ceil_div(p.tokens, 8 * kTokenTiles)));
  kernel<<<grid, kWarps * 32, kBytes, p.stream>>>(
      {p.w.codes, p.w.scales, p.features, p.cols},
      {p.x.codes, p.x.scales, p.tokens, p.cols}, make_output<F>(p));
  return cudaGetLastError();
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

// Taller tiles decode the tokens less often; they need enough features to give
// every multiprocessor two blocks.
template <Family F, int kTokenTiles>
cudaError_t launch_tokens(const MatmulProblem& p) {
  return p.features >= 2 * 64 * std::int64_t{p.multiprocessors}
             ? launch<F, 4, kTokenTiles>(p)
             : launch<F, 2, kTokenTiles>(p);
}

template <Family F>
cudaError_t launch_family(const MatmulProblem& p) {
  if (p.cols % 32 != 0) return launch_portable<F>(p);
  if (p.tokens <= 8) return launch_tokens<F, 1>(p);
  if (p.tokens <= 16) return launch_tokens<F, 2>(p);
  return launch_tokens<F, 4>(p);
}

}  // namespace

cudaError_t launch_small_matmul(const MatmulProblem& problem) {
  if (can_matvec(problem)) return launch_matvec(problem);
  if (cudaError_t error; launch_few_matmul(problem, &error)) return error;
  return dispatch_family(problem.format,
                         [&]<Family F>() { return launch_family<F>(problem); });
}

cudaError_t launch_portable_matmul(const MatmulProblem& problem) {
  return dispatch_family(
      problem.format, [&]<Family F>() { return launch_portable<F>(problem); });
}

}  // namespace wush::kernels::cuda
