// sm_100a: y^T = W x^T with both operands as they are packed, in tcgen05.mma
// with block_scale. Compiled and its machine code checked, BUT NEVER RUN: no
// such device was at hand. It follows the PTX ISA 9.0, sections 9.7.16.1
// (tensor memory), .4 (descriptors), .6 (memory consistency: pipelined
// instructions, fences, proxies), .7 (alloc), .8 (ld, wait), .9.2 (cp), .10.5.4
// (accumulator layout D), .10.6 (swizzle), .10.7 (block scaling), .10.9.1 (mma)
// and .12.1 (commit).
//
// A block computes 128 features by 128 tokens in six warps:
//   0-3  write the scales of 256 columns to shared memory, row t by thread t,
//        as tcgen05.cp wants them; at the end, read the sums from tensor
//        memory, one feature a thread, and store them: the 32 lanes of a warp
//        write neighbouring features.
//   4    one thread fills the ring with tensor copies of the codes; they
//        swizzle and put zeros outside of the matrices.
//   5    allocates tensor memory; one thread copies scales there and issues
//        the multiplications.
// Every stage of the ring has columns of tensor memory of its own for its
// scales: they are overwritten only after the barrier has said that the
// instructions which read them are done. Two blocks share a multiprocessor, so
// that one multiplies while the other stores.
#include <cstdint>
#include <limits>

#include "kernels/cuda/fp4_matmul_blackwell.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/scale_layout.h"
#include "kernels/cuda/tcgen05.cuh"
#include "kernels/cuda/tcgen05_descriptors.h"
#include "kernels/cuda/tensor_map.h"

namespace wush::kernels::cuda {
namespace {

constexpr const char* kName = "fp4_matmul";

constexpr int kTile = 128;  // features, and tokens
constexpr int kStages = 3;
constexpr int kStageColumns = 256;  // 128 bytes, what the swizzle takes
constexpr int kRowBytes = kStageColumns / 2;
constexpr int kCodeBytes = kTile * kRowBytes;
constexpr int kSteps = kStageColumns / kTcgen05Columns;
constexpr int kScaleWarps = 4, kCopyWarp = 4, kMultiplyWarp = 5;
constexpr int kThreads = 32 * 6;
constexpr int kTensorColumns = 256;  // half of what a multiprocessor has

template <Family F>
struct Stage {
  static constexpr int kGroups = kStageColumns / group_of(F);
  static constexpr int kBlocks = kGroups / 4;  // of 128 rows by 4 groups
  static constexpr int kScaleBytes = kBlocks * 512;
  static constexpr int kTokenCodes = kCodeBytes;
  static constexpr int kWeightScales = 2 * kCodeBytes;
  static constexpr int kTokenScales = kWeightScales + kScaleBytes;
  static constexpr int kBytes = kTokenScales + kScaleBytes;
  static constexpr int kScaleColumns = 2 * 4 * kBlocks;  // of tensor memory
  static constexpr int kSharedBytes = kStages * kBytes + 1024;
  // Swizzled tiles start at multiples of 1024 bytes.
  static_assert(kCodeBytes % 1024 == 0 && kBytes % 1024 == 0);
  static_assert(kTile + kStages * kScaleColumns <= kTensorColumns);
  // Of the 228 KiB of a multiprocessor, which takes 1 KiB for each block.
  static_assert(2 * (kSharedBytes + 2048) <= 228 * 1024);
};

struct Ring {
  unsigned char* stages;
  std::uint64_t* full;   // the copies of the codes and four warps
  std::uint64_t* empty;  // the instructions that read the stage
  std::uint64_t* done;   // all instructions
};
__device__ inline int slot(int stage) { return stage % kStages; }
__device__ inline unsigned parity(int stage) { return stage / kStages & 1; }

// The scales of a row from `column` on, four groups a word; zeros outside of
// the matrix, where the codes are zeros too.
template <Family F>
__device__ inline void load_scales(const OperandRows<F>& m, std::int64_t row,
                                   std::int64_t column,
                                   unsigned (&words)[Stage<F>::kBlocks]) {
  constexpr int kGroups = Stage<F>::kGroups;
#pragma unroll
  for (unsigned& word : words) word = 0;
  if (row >= m.rows) return;
  const std::int64_t groups = m.cols / group_of(F);
  const std::int64_t first = column / group_of(F);
  const auto* p =
      static_cast<const std::uint8_t*>(m.scales) + row * groups + first;
  if (groups % kGroups == 0) {  // every stage is whole and aligned
    if constexpr (kGroups == 16) {
      const uint4 four = __ldg(reinterpret_cast<const uint4*>(p));
      words[0] = four.x, words[1] = four.y;
      words[2] = four.z, words[3] = four.w;
    } else {
      const uint2 two = __ldg(reinterpret_cast<const uint2*>(p));
      words[0] = two.x, words[1] = two.y;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kGroups; ++i) {
    if (first + i < groups) words[i / 4] |= __ldg(p + i) << (8 * (i % 4));
  }
}

template <Family F>
__device__ inline void store_scales(unsigned char* to, int row,
                                    const unsigned (&w)[Stage<F>::kBlocks]) {
#pragma unroll
  for (int i = 0; i < Stage<F>::kBlocks; ++i) {
    *reinterpret_cast<unsigned*>(
        to + scale_layout_index(ScaleLayout::kBlackwell128x4, Stage<F>::kGroups,
                                row, 4 * i)) = w[i];
  }
}

// Warps 0-3; loads run one stage ahead of the stores.
template <Family F>
__device__ inline void produce_scales(const Ring& ring,
                                      const OperandRows<F>& weights,
                                      const OperandRows<F>& tokens,
                                      std::int64_t feature, std::int64_t token,
                                      int stages) {
  using S = Stage<F>;
  const int row = threadIdx.x;
  unsigned weight_words[S::kBlocks], token_words[S::kBlocks];
  load_scales<F>(weights, feature + row, 0, weight_words);
  load_scales<F>(tokens, token + row, 0, token_words);
  for (int s = 0; s < stages; ++s) {
    unsigned char* to = ring.stages + slot(s) * S::kBytes;
    barrier_wait(&ring.empty[slot(s)], parity(s) ^ 1);
    store_scales<F>(to + S::kWeightScales, row, weight_words);
    store_scales<F>(to + S::kTokenScales, row, token_words);
    fence_async_proxy();
    __syncwarp();
    if ((threadIdx.x & 31) == 0) barrier_arrive(&ring.full[slot(s)]);
    if (s + 1 < stages) {
      const std::int64_t column = (s + 1) * std::int64_t{kStageColumns};
      load_scales<F>(weights, feature + row, column, weight_words);
      load_scales<F>(tokens, token + row, column, token_words);
    }
  }
}

// One thread. What is copied from outside of a matrix counts like the rest.
template <Family F>
__device__ inline void produce_codes(const Ring& ring,
                                     const CUtensorMap* weights,
                                     const CUtensorMap* tokens, int feature,
                                     int token, int stages) {
  using S = Stage<F>;
  for (int s = 0; s < stages; ++s) {
    unsigned char* to = ring.stages + slot(s) * S::kBytes;
    std::uint64_t* full = &ring.full[slot(s)];
    barrier_wait(&ring.empty[slot(s)], parity(s) ^ 1);
    barrier_expect(full, 2 * kCodeBytes);
    copy_box(to, weights, s * kRowBytes, feature, full);
    copy_box(to + S::kTokenCodes, tokens, s * kRowBytes, token, full);
  }
}

// One thread, which alone issues tcgen05.cp and tcgen05.mma: so they stay in
// order. The sums lie in columns 0 .. 127 from `tensor` on: features along the
// lanes, tokens along the columns.
template <Family F>
__device__ inline void multiply(const Ring& ring, std::uint32_t tensor,
                                std::int64_t cols, int stages) {
  using S = Stage<F>;
  constexpr bool kE8m0 = F == Family::kPowerOfTwo;
  for (int s = 0; s < stages; ++s) {
    const std::uint32_t from =
        shared_address(ring.stages + slot(s) * S::kBytes);
    const std::uint32_t weight_scales =
        tensor_address(tensor, 0, kTile + slot(s) * S::kScaleColumns);
    const std::uint32_t token_scales = weight_scales + 4 * S::kBlocks;
    barrier_wait(&ring.full[slot(s)], parity(s));
    tensor_fence_after();
#pragma unroll
    for (int i = 0; i < S::kBlocks; ++i) {
      // Eight rows of 16 bytes are 128 bytes.
      const std::uint64_t block = shared_descriptor(
          from + S::kWeightScales + 512 * i, 128, SharedSwizzle::kNone);
      tensor_copy_scales(weight_scales + 4 * i, block);
      tensor_copy_scales(token_scales + 4 * i,
                         block + descriptor_advance(S::kScaleBytes));
    }
    const std::uint64_t a =
        shared_descriptor(from, 8 * kRowBytes, SharedSwizzle::k128Bytes);
    const std::uint64_t b = a + descriptor_advance(S::kTokenCodes);
    const std::int64_t left = cols - s * std::int64_t{kStageColumns};
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      if (i * kTcgen05Columns >= left) break;
      constexpr int kGroup = group_of(F);
      tensor_multiply_fp4<kE8m0>(
          tensor, a + descriptor_advance(i * kTcgen05Columns / 2),
          b + descriptor_advance(i * kTcgen05Columns / 2),
          fp4_instruction_descriptor(kTile, kTile, kE8m0, scale_id(i, kGroup)),
          weight_scales + 4 * scale_block(i, kGroup),
          token_scales + 4 * scale_block(i, kGroup), s != 0 || i != 0);
    }
    tensor_commit(&ring.empty[slot(s)]);
  }
  tensor_commit(ring.done);
}

// Warps 0-3: thread t has feature t of the tile. Loads are for whole warps,
// also where some features are outside.
__device__ inline void store_sums(const Ring& ring, std::uint32_t tensor,
                                  std::int64_t feature, std::int64_t features,
                                  std::int64_t token, std::int64_t tokens,
                                  const MmaOutput& out) {
  const std::int64_t n = feature + threadIdx.x;
  const int count =
      static_cast<int>(min(tokens - token, static_cast<std::int64_t>(kTile)));
  barrier_wait(ring.done, 0);
  __syncwarp();  // the loads below need whole warps
  tensor_fence_after();
  for (int column = 0; column < count; column += 32) {
    float sums[32];
    tensor_load(sums, tensor_address(
                          tensor, static_cast<int>(threadIdx.x & 96u), column));
    if (n < features) {
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        if (column + i >= count) break;
        out.store(token + column + i, n, features, sums[i]);
      }
    }
    __syncwarp();
  }
}

template <Family F>
__global__ __launch_bounds__(kThreads, 2) void tcgen05_matmul_kernel(
    const __grid_constant__ CUtensorMap weight_map,
    const __grid_constant__ CUtensorMap token_map, OperandRows<F> weights,
    OperandRows<F> tokens, int token_tiles, MmaOutput out) {
  extern __shared__ unsigned char raw[];
  __shared__ std::uint64_t barriers[2 * kStages + 1];
  __shared__ std::uint32_t allocated;
  const Ring ring{raw + (-shared_address(raw) & 1023u), barriers,
                  barriers + kStages, barriers + 2 * kStages};
  const int warp = threadIdx.x >> 5;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&ring.full[i], 1 + kScaleWarps);
      barrier_init(&ring.empty[i], 1);
    }
    barrier_init(ring.done, 1);
    fence_barrier_init();
  }
  __syncwarp();
  if (warp == kMultiplyWarp) tensor_allocate(&allocated, kTensorColumns);
  tensor_fence_before();
  __syncthreads();
  tensor_fence_after();
  const std::uint32_t tensor = allocated;
  // The tiles of all tokens, then the next features: weights are read once.
  const int feature = static_cast<int>(blockIdx.x / token_tiles) * kTile;
  const int token = static_cast<int>(blockIdx.x % token_tiles) * kTile;
  const int stages =
      static_cast<int>((weights.cols + kStageColumns - 1) / kStageColumns);
  if (warp < kScaleWarps) {
    produce_scales<F>(ring, weights, tokens, feature, token, stages);
    store_sums(ring, tensor, feature, weights.rows, token, tokens.rows, out);
  } else if (warp == kCopyWarp) {
    if (elect_one()) {
      produce_codes<F>(ring, &weight_map, &token_map, feature, token, stages);
    }
  } else if (elect_one()) {
    multiply<F>(ring, tensor, weights.cols, stages);
  }
  __syncwarp();
  tensor_fence_before();
  __syncthreads();
  if (warp == kMultiplyWarp) {
    tensor_fence_after();
    tensor_release(tensor, kTensorColumns);
  }
}

// The packed codes [rows, cols / 2], as bytes.
Status encode_codes(const QuantizedMatrix& m, std::int64_t cols,
                    CUtensorMap* map) {
  return encode_tensor_map(kName,
                           {m.codes, m.rows, cols / 2,
                            CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, kTile, kRowBytes},
                           map);
}

template <Family F>
Status launch(const MatmulProblem& p) {
  const std::int64_t token_tiles = ceil_div(p.tokens, kTile);
  const std::int64_t tiles = token_tiles * ceil_div(p.features, kTile);
  if (constexpr auto kMost = std::numeric_limits<std::int32_t>::max() - kTile;
      p.tokens > kMost || p.features > kMost || p.cols > kMost ||
      tiles > kMost) {
    return failure(kName, {p.tokens, p.features, p.cols},
                   "too large for the tcgen05 kernel");
  }
  CUtensorMap weight_map{}, token_map{};
  if (Status s = encode_codes(p.w, p.cols, &weight_map); !s.ok()) return s;
  if (Status s = encode_codes(p.x, p.cols, &token_map); !s.ok()) return s;
  auto* kernel = tcgen05_matmul_kernel<F>;
  constexpr int kBytes = Stage<F>::kSharedBytes;
  cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error == cudaSuccess) {
    kernel<<<static_cast<unsigned>(tiles), kThreads, kBytes, p.stream>>>(
        weight_map, token_map, {p.w.codes, p.w.scales, p.features, p.cols},
        {p.x.codes, p.x.scales, p.tokens, p.cols},
        static_cast<int>(token_tiles), make_output(p));
    error = cudaGetLastError();
  }
  return check(error, kName, {p.tokens, p.features, p.cols});
}

}  // namespace

Status launch_sm100_matmul(const MatmulProblem& problem) {
  return problem.format == Format::kNvfp4
             ? launch<Family::kE4m3>(problem)
             : launch<Family::kPowerOfTwo>(problem);
}

}  // namespace wush::kernels::cuda
