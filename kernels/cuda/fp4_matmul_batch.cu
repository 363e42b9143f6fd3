// Products with 33 to 64 tokens and large weights on sm_90a; bound by reading
// them: y^T = W x^T by warpgroup matrix instructions, whose second operand is
// as narrow as the tokens are few.
//
// A small kernel before decodes the tokens once (fp4_expand_tokens.cuh). What
// the product needs:
//  - bytes in flight: every warp keeps two stages of 256 columns of its 32 rows
//    under way, and begins while the tokens are still being decoded;
//  - few instructions a weight: tokens arrive in shared memory by one bulk copy
//    a stage; weights are decoded in registers, where one multiplication
//    applies both the exponent's bias and the scale, for one tile while the
//    tensor cores work on the other; no barrier of the whole block in the loop;
//  - the same work for every multiprocessor: as many blocks as run at once
//    share all stages of all tiles evenly. Sums of a tile that several blocks
//    share go through memory; the last of them adds all in the order of the
//    columns, so that results do not depend on timing.
#include <algorithm>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_batch_operands.cuh"
#include "kernels/cuda/fp4_expand_tokens.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warpgroup.cuh"

namespace wush::kernels::cuda::batch {
namespace {

constexpr int kTokens = 64;  // of a tile

template <Family F>
struct Batch {
  static constexpr int kSlabs = 2;

  struct Half {
    uint4 rows[kTokens][8];  // 64 columns of each token, at a multiple of 1024
  };
  using Slab = Half[kChunks][2];  // a stage
  struct Shared {
    Slab slabs[kSlabs];
    WeightStage<F> ring[kWarps][kWeightStages];
    std::uint8_t narrow[kSlabs][kChunks * kTokens];
    std::uint64_t full[kSlabs];
    unsigned released[kSlabs];  // warps that are done with the slab, ever
    bool last;                  // the block that adds a tile's sums
  };
  static constexpr int kSharedBytes = sizeof(Shared) + 1024;
};

// How the stages of all tiles are shared. A tile is 256 features and kTokens
// tokens.
struct Work {
  int stages;  // of a tile
  int feature_tiles;
  int tiles;
  int blocks;

  __host__ __device__ std::int64_t all() const {
    return std::int64_t{tiles} * stages;
  }
  // The first stage of a block, and the block that has a stage.
  __device__ std::int64_t first(int block) const {
    return all() * block / blocks;
  }
  __device__ int owner(std::int64_t stage) const {
    return static_cast<int>(((stage + 1) * blocks - 1) / all());
  }
};

// Memory beside the operands.
struct BatchWorkspace {
  TokenWorkspace tokens;
  float* partial;      // [block][2][value][thread]: of its first and last tile
  unsigned* counters;  // of blocks that are done with their part of a tile

  std::int64_t bytes;
};

// Where the decoded tokens lie.
struct TokenSource {
  const std::uint8_t* operand;
  const std::uint8_t* narrow;
  std::int64_t chunks;

  template <Family F>
  __device__ void start(typename Batch<F>::Shared& shared, int token_tile,
                        int stage, int slab) const {
    using Shape = Batch<F>;
    constexpr bool kWithNarrow = F == Family::kPowerOfTwo;
    constexpr unsigned kFlags = kChunks * kTokens;
    const std::int64_t record = token_tile * chunks + stage * kChunks;
    barrier_expect(&shared.full[slab],
                   sizeof(typename Shape::Slab) + (kWithNarrow ? kFlags : 0));
    copy_bulk(&shared.slabs[slab],
              operand + record * (2 * sizeof(typename Shape::Half)),
              sizeof(typename Shape::Slab), &shared.full[slab]);
    if (kWithNarrow) {
      copy_bulk(&shared.narrow[slab], narrow + record * kTokens, kFlags,
                &shared.full[slab]);
    }
  }
};

// Sums of a lane, by tile of 64 features.
using Sums = float[kTiles][kTokens / 2];
constexpr int kValues = kTiles * kTokens / 2;

// Stores a tile's sums as the lanes hold them: features g and g + 8 of tiles of
// 16, tokens 2 t and 2 t + 1 of tiles of 8.
__device__ inline void store_tile(const Sums& sum, int tile, const Work& work,
                                  std::int64_t features, std::int64_t tokens,
                                  const MmaOutput& out) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::int64_t n = tile % work.feature_tiles * std::int64_t{kFeatures} +
                         kWarpRows * warp + lane / 4;
  const std::int64_t m =
      tile / work.feature_tiles * std::int64_t{kTokens} + 2 * (lane % 4);
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const int half = i / (kTokens / 2), s = i % (kTokens / 2);
    const std::int64_t row = n + 16 * half + 8 * (s % 4 / 2);
    const std::int64_t token = m + 8 * (s / 4) + s % 2;
    if (row < features && token < tokens) {
      out.store(token, row, features, sum[half][s]);
    }
  }
}

// Sums of a part of a tile: kept for the last of the tile's blocks, which adds
// all parts. True for that one, whose sums then are the tile's.
__device__ inline bool add_parts(Sums& sum, bool* last, int tile,
                                 const Work& work,
                                 const BatchWorkspace& memory) {
  const std::int64_t first = std::int64_t{tile} * work.stages;
  const int from = work.owner(first), to = work.owner(first + work.stages - 1);
  if (from == to) return true;
  const int block = static_cast<int>(blockIdx.x);
  const auto part = [&](int of) {
    const std::int64_t slot = 2 * of + (work.first(of) < first ? 1 : 0);
    return reinterpret_cast<float4*>(memory.partial) +
           slot * (kValues / 4 * kThreads) + threadIdx.x;
  };
  float4* own = part(block);
#pragma unroll
  for (int i = 0; i < kValues / 4; ++i) {
    const float* four = sum[4 * i / (kTokens / 2)] + 4 * i % (kTokens / 2);
    own[i * kThreads] = make_float4(four[0], four[1], four[2], four[3]);
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    *last = atomicAdd(&memory.counters[tile], 1) ==
            static_cast<unsigned>(to - from);
    __threadfence();
  }
  __syncthreads();
  if (!*last) return false;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    sum[i / (kTokens / 2)][i % (kTokens / 2)] = 0;
  }
  for (int of = from; of <= to; ++of) {
    const float4* other = part(of);
    float4 values[kValues / 4];
#pragma unroll
    for (int i = 0; i < kValues / 4; ++i) {
      values[i] = __ldcg(other + i * kThreads);
    }
#pragma unroll
    for (int i = 0; i < kValues / 4; ++i) {
      float* four = sum[4 * i / (kTokens / 2)] + 4 * i % (kTokens / 2);
      four[0] += values[i].x, four[1] += values[i].y;
      four[2] += values[i].z, four[3] += values[i].w;
    }
  }
  return true;
}

// One stage of a warp, whose tiles of 16 rows are parts of its warpgroup's two
// tiles of 64. `release` is called when its weights have been read.
template <Family F, bool kNarrow, class Release>
__device__ inline void multiply_stage(Sums& sum,
                                      const typename Batch<F>::Slab& slab,
                                      const WeightStage<F>& weights,
                                      const PairScales<F> (&scales)[kRows],
                                      const Release& release) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  unsigned a[kTiles][4][4];
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    uint4 words[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      words[r] = weights.pieces[g + 8 * r][(2 * t + chunk) ^ (g & 1)];
    }
    if (chunk == kChunks - 1) release();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::uint64_t b = tile_descriptor(&slab[chunk][half], 1024, 16);
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        expand_half<F, kNarrow>(words + 2 * tile, scales + 2 * tile, chunk,
                                half, a[tile]);
        warpgroup_fence();
#pragma unroll
        for (int s = 0; s < 4; ++s) {
          // 16 columns on are 32 bytes.
          WarpgroupMultiply<kTokens>::run(sum[tile], a[tile][s], b + 2 * s,
                                          true);
        }
        warpgroup_commit();
        warpgroup_wait<1>();  // the other tile's registers are free
      }
    }
  }
  warpgroup_wait<0>();
}

// Whether all threads of the warpgroup say so.
__device__ inline bool all_of_warpgroup(bool own) {
  return threadIdx.x < 128 ? all_at_barrier<1>(128, own)
                           : all_at_barrier<2>(128, own);
}

// Counts the warp as done with a slab; true for the last one.
__device__ inline bool last_release(unsigned* released) {
  unsigned before;
  asm volatile("atom.shared.cta.acq_rel.add.u32 %0, [%1], 1;"
               : "=r"(before)
               : "r"(shared_address(released))
               : "memory");
  return before % kWarps == kWarps - 1;
}

// Needs cols % 128 == 0 and no more blocks than stages.
template <Family F>
__global__ __launch_bounds__(kThreads, 1) void batch_matmul_kernel(
    OperandRows<F> w, TokenSource source, BatchWorkspace memory, Work work,
    std::int64_t tokens, MmaOutput out) {
  using Shape = Batch<F>;
  constexpr bool kFlags = F == Family::kPowerOfTwo;
  extern __shared__ unsigned char raw[];
  unsigned char* aligned = raw + (-shared_address(raw) & 1023u);
  auto& shared = *reinterpret_cast<typename Shape::Shared*>(aligned);
  const std::int64_t first = work.first(static_cast<int>(blockIdx.x));
  const int count =
      static_cast<int>(work.first(static_cast<int>(blockIdx.x) + 1) - first);
  const Place begin{static_cast<int>(first / work.stages),
                    static_cast<int>(first % work.stages)};

  allow_next_launch();
  const Weights<F> weights{w, work.feature_tiles};
  auto& ring = shared.ring[threadIdx.x / 32];
  PairScales<F> scales[kRows];
  Place next_weights = begin;  // to copy
#pragma unroll
  for (int s = 0; s < kWeightStages; ++s) {
    weights.start(ring[s], next_weights, s < count);
    next_weights.advance(work.stages);
  }
  Place next_slab = begin;
  int slabs = 0;  // started
  const auto start_slab = [&] {
    source.start<F>(shared, next_slab.tile / work.feature_tiles,
                    next_slab.stage, slabs % Shape::kSlabs);
  };
  if (threadIdx.x == 0) {
    for (int i = 0; i < Shape::kSlabs; ++i) {
      barrier_init(&shared.full[i], 1);
      shared.released[i] = 0;
    }
    fence_barrier_init();
    wait_for_previous_launch();  // the tokens are decoded
  }
  for (; slabs < Shape::kSlabs; ++slabs) {
    if (threadIdx.x == 0 && slabs < count) start_slab();
    next_slab.advance(work.stages);
  }
  __syncthreads();

  Sums sum;
  int s = 0;  // of count
  Place place = begin;
  // Waits for stage s; whether all its scales are narrow.
  const auto prepare = [&] {
    wait_copies<kWeightStages - 1>();
    __syncwarp();  // other lanes copied, too
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      scales[r] =
          read_scales<F>(ring[s % kWeightStages], threadIdx.x % 32 / 4 + 8 * r);
    }
    barrier_wait(&shared.full[s % Shape::kSlabs], s / Shape::kSlabs % 2);
    if (!kFlags) return false;
    bool narrow = true;
#pragma unroll
    for (int r = 0; r < kRows; ++r) narrow &= scales[r].narrow();
    // Lanes 2 and 3 may have no columns in the last stage.
    narrow |= !weights.is_inside(place, threadIdx.x % 4 / 2);
    const auto* flags =
        reinterpret_cast<const unsigned*>(&shared.narrow[s % Shape::kSlabs]);
    if (threadIdx.x % 32 < kChunks * kTokens / 4) {
      narrow &= flags[threadIdx.x % 32] == 0x01010101u;
    }
    return all_of_warpgroup(narrow);
  };
  const auto multiply = [&]<bool kNarrow>() {
    WeightStage<F>& stage = ring[s % kWeightStages];
    const auto release = [&] {
      __syncwarp();
      weights.start(stage, next_weights, s + kWeightStages < count);
      next_weights.advance(work.stages);
    };
    multiply_stage<F, kNarrow>(sum, shared.slabs[s % Shape::kSlabs], stage,
                               scales, release);
    if (threadIdx.x % 32 == 0 &&
        last_release(&shared.released[s % Shape::kSlabs]) && slabs < count) {
      start_slab();
    }
    __syncwarp();
    ++slabs;
    next_slab.advance(work.stages);
    ++s;
    place.advance(work.stages);
  };
  while (s < count) {
    const int tile = place.tile;
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      sum[i / (kTokens / 2)][i % (kTokens / 2)] = 0;
    }
    const auto more = [&] { return s < count && place.tile == tile; };
    bool narrow = prepare();
    if constexpr (kFlags) {
      // mxfp4 sums lack the narrow weights' power of two until the first stage
      // with scales out of the narrow range, which is rare.
      while (narrow) {
        multiply.template operator()<true>();
        narrow = more() && prepare();
      }
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        sum[i / (kTokens / 2)][i % (kTokens / 2)] *=
            static_cast<float>(1 << kNarrowShift);
      }
    }
    while (more()) {
      multiply.template operator()<false>();
      if (more()) prepare();
    }
    if (add_parts(sum, &shared.last, tile, work, memory)) {
      store_tile(sum, tile, work, w.rows, tokens, out);
    }
  }
}

Work share_work(std::int64_t tokens, std::int64_t features, std::int64_t cols,
                int multiprocessors) {
  Work work = {};
  work.stages = static_cast<int>(ceil_div(cols, kStageColumns));
  work.feature_tiles = static_cast<int>(ceil_div(features, kFeatures));
  work.tiles = static_cast<int>(ceil_div(tokens, kTokens)) * work.feature_tiles;
  work.blocks =
      static_cast<int>(std::min<std::int64_t>(work.all(), multiprocessors));
  return work;
}

BatchWorkspace lay_out(std::int64_t tokens, const Work& work, void* memory) {
  BatchWorkspace to = {};
  auto* start = static_cast<std::uint8_t*>(memory);
  const auto take = [&](std::int64_t bytes) {
    std::uint8_t* from = start + to.bytes;
    to.bytes += ceil_div(bytes, 128) * 128;
    return from;
  };
  to.tokens.tile_tokens = kTokens;
  to.tokens.padded_tokens = ceil_div(tokens, kTokens) * kTokens;
  to.tokens.chunks = std::int64_t{kChunks} * work.stages;
  to.tokens.operand = reinterpret_cast<uint4*>(take(to.tokens.operand_bytes()));
  to.tokens.narrow = take(to.tokens.narrow_bytes());
  to.counters = reinterpret_cast<unsigned*>(take(4 * work.tiles));
  to.tokens.zeros = to.counters;
  to.tokens.zero_count = work.tiles;
  to.partial = reinterpret_cast<float*>(
      take(std::int64_t{2} * work.blocks * kFeatures * kTokens * 4));
  return to;
}

template <Family F>
cudaError_t launch(const MatmulProblem& p) {
  const Work work = share_work(p.tokens, p.features, p.cols, p.multiprocessors);
  const BatchWorkspace memory = lay_out(p.tokens, work, p.workspace);
  const OperandRows<F> w{p.w.codes, p.w.scales, p.features, p.cols};
  const OperandRows<F> x{p.x.codes, p.x.scales, p.tokens, p.cols};
  if (const cudaError_t error =
          launch_expand_tokens<F, LaneShare::kPair>(x, memory.tokens, p.stream);
      error != cudaSuccess) {
    return error;
  }
  const TokenSource source{
      reinterpret_cast<const std::uint8_t*>(memory.tokens.operand),
      memory.tokens.narrow, memory.tokens.chunks};
  return launch_overlapping(batch_matmul_kernel<F>,
                            {dim3(static_cast<unsigned>(work.blocks)), kThreads,
                             (Batch<F>::kSharedBytes), p.stream},
                            w, source, memory, work, p.tokens,
                            make_output<F>(p));
}

}  // namespace
}  // namespace wush::kernels::cuda::batch

namespace wush::kernels::cuda {

std::int64_t batch_workspace(std::int64_t tokens, std::int64_t features,
                             std::int64_t cols, int multiprocessors) {
  return batch::lay_out(
             tokens, batch::share_work(tokens, features, cols, multiprocessors),
             nullptr)
      .bytes;
}

cudaError_t launch_batch_matmul(const MatmulProblem& problem) {
  return dispatch_family(problem.format,
                         [&]<Family F>() { return batch::launch<F>(problem); });
}

}  // namespace wush::kernels::cuda
