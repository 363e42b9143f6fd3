// Products with few tokens, bound by reading the weights; mma.sync with the
// weights as its first operand, so that 16 x 8 tiles waste nothing from 8
// tokens on.
//
// A block of sixteen warps to a multiprocessor decodes its columns of all
// tokens once, in the order of the matrix operands, to shared memory, where
// they stay; then the weights pass, in tiles of 16 features. What that needs:
//  - few instructions a weight: weights are decoded in registers, where one
//    multiplication applies both the exponent's bias and the scale;
//  - bytes in flight: every warp keeps one or two pairs of chunks, 128 bytes of
//    each row, under way through the ends of tiles;
//  - the same work for every multiprocessor and long stretches of every row:
//    the warps of a block are groups that take tiles in turn, the warps of a
//    group share its columns, pair by pair; where a block has no room for all
//    columns of the tokens, those of a cluster (sm_90) share them;
//  - sums that wait for nobody: a warp sends its sums of a tile to those that
//    add them, and goes on; they are added while the next tile is multiplied,
//    in the order of blocks and warps, so that results do not depend on timing;
//  - tokens before weights: the first thing that a block asks of the memory;
//    behind its copies of weights 16 tokens of 4096 x 4096 took 0.8 us longer;
//  - no gap between launches: the next one begins while this one ends and
//    brings its tokens to the second-level cache; it reads and writes only
//    after this one has ended.
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_few_operands.cuh"
#include "kernels/cuda/fp4_few_plan.h"
#include "kernels/cuda/fp4_few_sums.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda::few {
namespace {

// Shared memory before the tokens.
template <class Shape>
struct alignas(16) WarpsMemory {
  using Sums = GroupSums<Shape::kTileSums>;
  typename Shape::Stage ring[kWarps][Shape::kStages];
  float sums[kWarps][Sums::kRoom];
  typename Sums::Barriers barriers[kWarps];  // of groups
};

// The block's tokens to the second-level cache.
template <class Shape, Family F>
__device__ inline void prefetch_tokens(const OperandRows<F>& x,
                                       std::int64_t token, int first,
                                       int pairs) {
  constexpr int kOfToken = kThreads / Shape::kTokens;  // threads
  constexpr int kScales = kPair * Shape::kScaleBytes;
  const std::int64_t row = token + threadIdx.x / kOfToken;
  if (row >= x.rows) return;
  const std::int64_t chunk = row * (x.cols / kChunkColumns) + kPair * first;
  const auto* scales = static_cast<const std::uint8_t*>(x.scales);
  for (int i = threadIdx.x % kOfToken; i < pairs; i += kOfToken) {
    prefetch_line(x.codes + (chunk + kPair * i) * 64);
    if (i * kScales % 128 == 0) {
      prefetch_line(scales + chunk * Shape::kScaleBytes + i * kScales);
    }
  }
}

// One warp's part of the block's tiles. `narrow`: the tokens allow narrow
// weights.
template <Family F, int kTokenTiles>
__device__ inline void multiply_tiles(
    const typename Few<F, kTokenTiles>::TokenPair* tokens, bool narrow,
    typename Few<F, kTokenTiles>::Stage* ring,
    WeightCopies<F, kTokenTiles>& copies, int pairs, int column, int columns,
    int tiles, const GroupSums<Few<F, kTokenTiles>::kTileSums>& sums,
    const auto& store) {
  // mxfp4 sums lack the narrow weights' power of two until the tile's first
  // pair with scales out of the narrow range, which is rare.
  constexpr float kMissing = static_cast<float>(1 << kNarrowShift);
  constexpr int kStages = Few<F, kTokenTiles>::kStages;
  int stage = 0;
#pragma unroll 1
  for (int index = 0; index < tiles; ++index) {
    float sum[kTokenTiles][4] = {};
    bool wide = F != Family::kPowerOfTwo;
    const auto widen = [&] {
      wide = true;
#pragma unroll
      for (int i = 0; i < kTokenTiles * 4; ++i) sum[i / 4][i % 4] *= kMissing;
    };
#pragma unroll 1
    for (int pair = column; pair < pairs; pair += columns) {
      wait_copies<kStages - 1>();
      __syncwarp();  // scales were copied by other lanes
      WeightPair<F, kTokenTiles> weights;
      weights.read(ring[stage]);
      __syncwarp();
      copies.start(ring[stage]);
      stage = stage + 1 == kStages ? 0 : stage + 1;
      if constexpr (F == Family::kPowerOfTwo) {
        if (!wide && !(narrow && weights.narrow())) widen();
        if (!wide) weights.template multiply<true>(tokens[pair], sum);
      }
      if (wide) weights.template multiply<false>(tokens[pair], sum);
      if (pair == column && index > 0) {
        sums.add(index - 1, true, [&](int place, float total) {
          store(index - 1, place, total);
        });
      }
    }
    if (!wide) widen();
    sums.send(sum, index);
  }
  sums.add(tiles - 1, false,
           [&](int place, float total) { store(tiles - 1, place, total); });
}

// Needs cols % 128 == 0.
template <Family F, int kTokenTiles>
__global__ __launch_bounds__(kThreads, 1) void few_matmul_kernel(
    OperandRows<F> w, OperandRows<F> x, MmaOutput out, Plan plan) {
  using Shape = Few<F, kTokenTiles>;
  using Memory = WarpsMemory<Shape>;
  extern __shared__ uint4 dynamic[];
  // The tokens come last.
  auto& memory = *reinterpret_cast<Memory*>(dynamic);
  auto* tokens = reinterpret_cast<typename Shape::TokenPair*>(&memory + 1);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int cluster = cluster_index();
  const auto [group, column, first, pairs, tile, tiles] =
      share_of_warp(plan, cluster, cluster_rank(), warp);
  const int chunks = static_cast<int>(w.cols / kChunkColumns);
  const std::int64_t token = blockIdx.y * std::int64_t{Shape::kTokens};
  const std::int64_t feature = tile * kFeatures;

  allow_next_launch();
  const typename Memory::Sums sums(memory.sums[group * plan.columns],
                                   &memory.barriers[group], column, plan);
  if (column == 0 && threadIdx.x % 32 == 0) {
    sums.init();
    fence_barrier_init();
  }
  __syncwarp();
  if (plan.blocks > 1) cluster_arrive_relaxed();
  // All clusters asking for the same lines took longer.
  if (cluster < 4) prefetch_tokens<Shape>(x, token, first, pairs);
  // The first two pairs of every row; many tokens would come behind them.
  const int lane = threadIdx.x % 32;
  const int ahead = column + lane / kFeatures * plan.columns;
  const std::int64_t row = feature + lane % kFeatures;
  if (kTokenTiles < 4 && tiles > 0 && ahead < pairs && row < w.rows) {
    prefetch_line(w.codes + (row * chunks + kPair * (first + ahead)) * 64);
  }
  wait_for_previous_launch();

  // First, or the tokens would come after all the weights' copies.
  const int pieces = pairs * kPair * kTokenTiles;
  TokenPieces<F, kTokenTiles> packed;
  packed.load(x, token, first, warp);
  WeightCopies<F, kTokenTiles> copies(w, feature, plan.groups * kFeatures,
                                      tiles, first, pairs, column,
                                      plan.columns);
  auto& ring = memory.ring[warp];
  bool own_narrow = packed.store(tokens, warp, pieces);
  // Behind the first pieces; ahead of those they would delay them.
#pragma unroll
  for (int i = 0; i < Shape::kStages; ++i) copies.start(ring[i]);
  for (int piece = warp + packed.kStride; piece < pieces;
       piece += packed.kStride) {
    packed.load(x, token, first, piece);
    own_narrow &= packed.store(tokens, piece, pieces);
  }
  const bool narrow = __syncthreads_and(own_narrow) != 0;
  if (plan.blocks > 1) cluster_wait();  // the others' barriers
  if (tiles == 0) return;

  const auto store = [&](int index, int place, float sum) {
    const std::int64_t m = token + place / kFeatures;
    const std::int64_t n =
        feature + index * plan.groups * kFeatures + place % kFeatures;
    if (m < x.rows && n < w.rows) out.store(m, n, w.rows, sum);
  };
  multiply_tiles<F, kTokenTiles>(tokens, narrow, ring, copies, pairs, column,
                                 plan.columns, tiles, sums, store);
}

template <Family F, int kTokenTiles>
class Launcher {
  using Shape = Few<F, kTokenTiles>;
  using Memory = WarpsMemory<Shape>;
  static constexpr auto* kKernel = few_matmul_kernel<F, kTokenTiles>;
  static constexpr int kPairBytes = sizeof(typename Shape::TokenPair);

 public:
  // Fails, or has no plan if the columns are too many.
  static cudaError_t plan(const MatmulProblem& p, Plan* plan) {
    int most = 0;
    *plan = {};
    const cudaError_t error = most_shared_memory(&most);
    const int room = (most - static_cast<int>(sizeof(Memory))) / kPairBytes;
    if (error != cudaSuccess || room <= 0) return error;
    // Of the first device that asks: another one gets right results, too.
    static const Resident resident = query_resident(kKernel, kThreads, most);
    *plan = choose_plan(
        {ceil_div(p.features, kFeatures), ceil_div(p.tokens, Shape::kTokens),
         ceil_div(p.cols, kPair * kChunkColumns), room, Shape::kTileSums,
         p.multiprocessors},
        resident);
    if (plan->blocks <= kPortableBlocks) return cudaSuccess;
    return cudaFuncSetAttribute(
        kKernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }

  static cudaError_t launch(const MatmulProblem& p, const Plan& plan) {
    const OperandRows<F> w{p.w.codes, p.w.scales, p.features, p.cols};
    const OperandRows<F> x{p.x.codes, p.x.scales, p.tokens, p.cols};
    const dim3 grid(static_cast<unsigned>(plan.clusters * plan.blocks),
                    static_cast<unsigned>(ceil_div(p.tokens, Shape::kTokens)));
    return launch_overlapping(
        kKernel,
        {grid, kThreads,
         sizeof(Memory) +
             static_cast<std::size_t>(plan.pairs.most()) * kPairBytes,
         p.stream, plan.blocks},
        w, x, make_output<F>(p), plan);
  }
};

// Launches with the largest tile of tokens that is not too large and has a
// plan; false if none has.
template <Family F>
bool launch_family(const MatmulProblem& p, cudaError_t* error) {
  bool done = false;
  const auto offer = [&]<int kTokenTiles>() {
    using L = Launcher<F, kTokenTiles>;
    if (done || (kTokenTiles > 1 && p.tokens <= 4 * kTokenTiles)) return;
    Plan plan;
    *error = L::plan(p, &plan);
    done = *error != cudaSuccess || plan.blocks > 0;
    if (*error == cudaSuccess && done) *error = L::launch(p, plan);
  };
  offer.template operator()<4>();
  offer.template operator()<2>();
  offer.template operator()<1>();
  return done;
}

}  // namespace
}  // namespace wush::kernels::cuda::few

namespace wush::kernels::cuda {

bool launch_few_matmul(const MatmulProblem& problem, cudaError_t* error) {
  if (problem.cols % kChunkColumns != 0 ||
      !can_overlap(few::few_matmul_kernel<Family::kStep, 1>)) {
    return false;
  }
  return dispatch_family(problem.format, [&]<Family F>() {
    return few::launch_family<F>(problem, error);
  });
}

}  // namespace wush::kernels::cuda
