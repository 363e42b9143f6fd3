// Many tokens on sm_90a: y^T = W x^T by warpgroup matrix instructions.
//
// A tile is 128 features by kTokens tokens. The weights are the operand in
// registers: two warpgroups of 64 features each read packed words straight from
// memory, one chunk ahead, and decode them into the registers of the next
// instructions while the tensor cores work on the last ones. The tokens are the
// operand in shared memory. A small kernel before decodes them once into a
// workspace that already has the layout of the tiles, so that one thread fills
// a stage of the ring with one bulk copy.
//
// Where tiles are fewer than half the multiprocessors, the blocks of a cluster
// share the columns of one; each then adds its part of all blocks' sums, in
// their order, so that results do not depend on timing.
#include <algorithm>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_expand_tokens.cuh"
#include "kernels/cuda/fp4_hopper_output.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/resident.h"
#include "kernels/cuda/split.h"
#include "kernels/cuda/warpgroup.cuh"

namespace wush::kernels::cuda {
namespace {

constexpr int kTileFeatures = 128;
constexpr int kThreads = 128 * (kConsumers + 1);
constexpr int kRasterTokens = 8;  // token tiles walked before the next features
constexpr int kSharedTokens = 128;  // of the tiles that clusters share

template <int kTokens>
struct Tile {
  static constexpr int kStageBytes = kTokens * 128;
  static constexpr int kStages = kTokens == 256 ? 5 : kTokens == 192 ? 6 : 8;
  static constexpr int kStagingBytes = kConsumers * kTokens * 128;
  static constexpr int kBarrierBytes = 2 * kStages * 8;
  static constexpr int kSharedBytes =
      kStages * kStageBytes + kStagingBytes + kBarrierBytes + 1024;
};

struct TileGrid {
  std::int64_t token_tiles;
  std::int64_t feature_tiles;

  __device__ std::int64_t count() const { return token_tiles * feature_tiles; }
  // kRasterTokens token tiles for every feature tile, so that the tiles that
  // run at once share both operands in the L2 cache.
  __device__ void locate(std::int64_t index, std::int64_t* token_tile,
                         std::int64_t* feature_tile) const {
    const std::int64_t band_tiles = kRasterTokens * feature_tiles;
    const std::int64_t band = index / band_tiles;
    const std::int64_t height = min(static_cast<std::int64_t>(kRasterTokens),
                                    token_tiles - band * kRasterTokens);
    const std::int64_t rest = index - band * band_tiles;
    *token_tile = band * kRasterTokens + rest % height;
    *feature_tile = rest / height;
  }
};

// Of a tile's chunks those that a block takes.
struct ChunkRange {
  int first, count, all;
};

// Position in the ring and the parity of its barriers.
template <int kStages>
struct RingState {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// A lane's share of one weight row, chunk by chunk.
template <Family F>
struct WeightRow {
  const std::uint8_t* codes;
  const std::uint8_t* scales;
  bool inside;

  __device__ WeightRow(const OperandRows<F>& w, std::int64_t row, int t,
                       int chunk)
      : inside(row < w.rows) {
    constexpr int kScaleBytes = F == Family::kStep ? 2 : 1;
    const std::int64_t first =
        inside ? row * w.cols + chunk * kChunkColumns + 32 * t : 0;
    codes = w.codes + first / 2;
    scales = static_cast<const std::uint8_t*>(w.scales) +
             first / group_of(F) * kScaleBytes;
  }
};

// Two rows, g and g + 8, of a chunk. Scales stay as they were loaded until they
// are used, so that nothing waits for the memory here.
template <Family F>
struct WeightChunk {
  uint4 upper, lower;
  unsigned upper_scales, lower_scales;

  // Columns outside are met by tokens that are zero.
  __device__ static void load_row(const WeightRow<F>& row, int chunk,
                                  bool inside, uint4* words, unsigned* scales) {
    *words = make_uint4(0, 0, 0, 0);
    *scales = 0;
    if (!inside || !row.inside) return;
    *words = __ldg(reinterpret_cast<const uint4*>(row.codes + chunk * 64));
    if constexpr (F == Family::kPowerOfTwo) {
      *scales = __ldg(row.scales + chunk * 4);
    } else {
      *scales =
          __ldg(reinterpret_cast<const std::uint16_t*>(row.scales + chunk * 8));
    }
  }
  __device__ void load(const WeightRow<F>& u, const WeightRow<F>& l, int chunk,
                       bool inside) {
    load_row(u, chunk, inside, &upper, &upper_scales);
    load_row(l, chunk, inside, &lower, &lower_scales);
  }

  __device__ static unsigned multiplier(unsigned scales, int half) {
    if constexpr (F == Family::kE4m3) {
      return operand_multiplier<F>(half == 0 ? scales & 0xffu : scales >> 8);
    } else {
      return operand_multiplier<F>(scales);
    }
  }

  // Operands of the four instructions of half a chunk.
  __device__ void expand(int half, unsigned (&a)[4][4]) const {
    const unsigned u_multiplier = multiplier(upper_scales, half);
    const unsigned l_multiplier = multiplier(lower_scales, half);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      unsigned u[4], l[4];
      expand_word<F>(half == 0 ? (i == 0 ? upper.x : upper.y)
                               : (i == 0 ? upper.z : upper.w),
                     u_multiplier, u);
      expand_word<F>(half == 0 ? (i == 0 ? lower.x : lower.y)
                               : (i == 0 ? lower.z : lower.w),
                     l_multiplier, l);
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        a[2 * i + s][0] = u[2 * s];
        a[2 * i + s][1] = l[2 * s];
        a[2 * i + s][2] = u[2 * s + 1];
        a[2 * i + s][3] = l[2 * s + 1];
      }
    }
  }
};

template <int kTokens>
__device__ inline void multiply_stage(float (&sums)[kTokens / 2],
                                      const unsigned (&a)[4][4],
                                      const void* tile, bool accumulate) {
  const std::uint64_t b = tile_descriptor(tile, 1024, 16);
  warpgroup_fence();
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    // 16 columns on are 32 bytes.
    WarpgroupMultiply<kTokens>::run(sums, a[s], b + 2 * s,
                                    accumulate || s != 0);
  }
  warpgroup_commit();
}

template <int kTokens>
struct Ring {
  unsigned char* stages;
  std::uint64_t* full;
  std::uint64_t* empty;
};

// Tiles tile, tile + step, ...
template <int kTokens>
__device__ inline void produce(const Ring<kTokens>& ring,
                               const unsigned char* workspace,
                               const TileGrid& grid, std::int64_t tile,
                               std::int64_t step, const ChunkRange& chunks) {
  constexpr int kBytes = Tile<kTokens>::kStageBytes;
  RingState<Tile<kTokens>::kStages> state;
  for (std::int64_t i = tile; i < grid.count(); i += step) {
    std::int64_t token_tile, feature_tile;
    grid.locate(i, &token_tile, &feature_tile);
    const unsigned char* from =
        workspace + 2 * (token_tile * chunks.all + chunks.first) * kBytes;
    for (int s = 0; s < 2 * chunks.count; ++s) {
      barrier_wait(&ring.empty[state.stage], state.parity ^ 1);
      barrier_expect(&ring.full[state.stage], kBytes);
      copy_bulk(ring.stages + state.stage * kBytes,
                from + std::int64_t{s} * kBytes, kBytes,
                &ring.full[state.stage]);
      state.advance();
    }
  }
}

// One tile's sums. On return all instructions are done and all stages released.
template <Family F, int kTokens>
__device__ inline void multiply_tile(float (&sums)[kTokens / 2],
                                     const Ring<kTokens>& ring,
                                     RingState<Tile<kTokens>::kStages>& state,
                                     const OperandRows<F>& weights,
                                     std::int64_t row,
                                     const ChunkRange& chunks) {
  const int t = threadIdx.x & 3;
  const bool leader = (threadIdx.x & 31) == 0;
  const auto stage = [&] {
    return ring.stages + state.stage * Tile<kTokens>::kStageBytes;
  };
  const WeightRow<F> upper(weights, row, t, chunks.first);
  const WeightRow<F> lower(weights, row + 8, t, chunks.first);
  // Chunks of which this lane has columns.
  const int own_chunks =
      static_cast<int>((weights.cols - 32 * t + kChunkColumns - 1) /
                       kChunkColumns) -
      chunks.first;
  WeightChunk<F> current, next;
  current.load(upper, lower, 0, own_chunks > 0);
  unsigned even[4][4], odd[4][4];
  current.expand(0, even);
  int last = -1;  // stage to release
  for (int c = 0; c < chunks.count; ++c) {
    next.load(upper, lower, c + 1, c + 1 < own_chunks);
    barrier_wait(&ring.full[state.stage], state.parity);
    multiply_stage<kTokens>(sums, even, stage(), c != 0);
    warpgroup_wait<1>();
    if (leader && last >= 0) barrier_arrive(&ring.empty[last]);
    last = state.stage;
    state.advance();
    current.expand(1, odd);
    barrier_wait(&ring.full[state.stage], state.parity);
    multiply_stage<kTokens>(sums, odd, stage(), true);
    warpgroup_wait<1>();
    if (leader) barrier_arrive(&ring.empty[last]);
    last = state.stage;
    state.advance();
    current = next;
    current.expand(0, even);
  }
  warpgroup_wait<0>();
  if (leader) barrier_arrive(&ring.empty[last]);
}

// kShared: the blocks of a cluster share a tile's chunks, and there is one
// cluster for each tile.
template <Family F, int kTokens, bool kShared>
__global__ __launch_bounds__(kThreads, 1) void hopper_matmul_kernel(
    OperandRows<F> weights, const unsigned char* __restrict__ workspace,
    int all_chunks, int blocks, Split split, TileGrid grid, HopperOutput out) {
  using T = Tile<kTokens>;
  extern __shared__ unsigned char raw[];
  unsigned char* base = raw + (-shared_address(raw) & 1023u);
  unsigned char* staging = base + T::kStages * T::kStageBytes;
  auto* barriers = reinterpret_cast<std::uint64_t*>(staging + T::kStagingBytes);
  const Ring<kTokens> ring{base, barriers, barriers + T::kStages};
  if (threadIdx.x == 0) {
    for (int i = 0; i < T::kStages; ++i) {
      barrier_init(&ring.full[i], 1);
      barrier_init(&ring.empty[i], kConsumers * 4);  // one lane of each warp
    }
    fence_barrier_init();
  }
  __syncthreads();
  const int rank = kShared ? cluster_rank() : 0;
  const ChunkRange chunks = {kShared ? static_cast<int>(split.first(rank)) : 0,
                             kShared ? split.count(rank) : all_chunks,
                             all_chunks};
  const std::int64_t tile = kShared ? cluster_index() : blockIdx.x;
  const std::int64_t step = kShared ? grid.count() : gridDim.x;
  const int warpgroup = threadIdx.x / 128;
  if (warpgroup == kConsumers) {
    give_registers<40>();
    if (threadIdx.x == kConsumers * 128) {
      if (kShared) wait_for_previous_launch();  // the tokens are decoded
      produce<kTokens>(ring, workspace, grid, tile, step, chunks);
    }
    if constexpr (kShared) {
      share_sums<kTokens>(nullptr, base, out, 0, 0, blocks);
    }
  } else {
    take_registers<232>();
    const int warp = (threadIdx.x & 127) >> 5, g = (threadIdx.x & 31) >> 2;
    RingState<T::kStages> state;
    for (std::int64_t i = tile; i < grid.count(); i += step) {
      std::int64_t token_tile, feature_tile;
      grid.locate(i, &token_tile, &feature_tile);
      const std::int64_t feature =
          feature_tile * kTileFeatures + 64 * warpgroup;
      float sums[kTokens / 2];
      multiply_tile<F, kTokens>(sums, ring, state, weights,
                                feature + 16 * warp + g, chunks);
      if constexpr (kShared) {
        share_sums<kTokens>(sums, base, out, feature_tile * kTileFeatures,
                            token_tile * kTokens, blocks);
      } else if (out.wide != nullptr) {
        store_wide<kTokens>(sums, out, feature, token_tile * kTokens);
      } else {
        store_narrow<kTokens>(sums, staging + warpgroup * kTokens * 128, out,
                              feature, token_tile * kTokens, warpgroup);
      }
    }
  }
}

// Blocks of a cluster that share a tile's chunks: as many as find room at once
// and have four chunks or more; 1 where tiles are enough.
template <Family F, int kTokens>
int choose_blocks(const MatmulProblem& p, std::int64_t tiles,
                  std::int64_t chunks) {
  if (2 * tiles > p.multiprocessors) return 1;
  // Of the first device that asks: another one gets right results, too.
  static const Resident resident =
      query_resident(hopper_matmul_kernel<F, kTokens, true>, kThreads,
                     Tile<kTokens>::kSharedBytes);
  int blocks = 1;
  for (int b = 2; b <= kPortableBlocks; ++b) {
    if (tiles <= resident.clusters[b] && 4 * b <= chunks &&
        ceil_div(chunks, b) < ceil_div(chunks, blocks)) {
      blocks = b;
    }
  }
  return blocks;
}

template <Family F, int kTokens>
cudaError_t launch(const MatmulProblem& p) {
  using T = Tile<kTokens>;
  const std::int64_t chunks = ceil_div(p.cols, kChunkColumns);
  const TileGrid grid{ceil_div(p.tokens, kTokens),
                      ceil_div(p.features, kTileFeatures)};
  const TokenWorkspace tokens{kTokens, grid.token_tiles * kTokens,
                              chunks,  static_cast<uint4*>(p.workspace),
                              nullptr, nullptr,
                              0};
  if (const cudaError_t error = launch_expand_tokens<F, LaneShare::kGroup>(
          {p.x.codes, p.x.scales, p.tokens, p.cols}, tokens, p.stream);
      error != cudaSuccess) {
    return error;
  }
  const bool wide = p.out.type == DataType::kFloat32;
  const HopperOutput out{p.tokens,
                         p.features,
                         p.constant * kOperandScale<F> * kOperandScale<F>,
                         p.out.bias,
                         wide ? nullptr : static_cast<__nv_bfloat16*>(p.out.y),
                         wide ? static_cast<float*>(p.out.y) : nullptr};
  const OperandRows<F> w{p.w.codes, p.w.scales, p.features, p.cols};
  const auto* workspace = static_cast<const unsigned char*>(p.workspace);
  const std::int64_t tiles = grid.token_tiles * grid.feature_tiles;
  if constexpr (kTokens == kSharedTokens) {
    const int blocks = choose_blocks<F, kTokens>(p, tiles, chunks);
    if (blocks > 1) {
      return launch_overlapping(hopper_matmul_kernel<F, kTokens, true>,
                                {dim3(static_cast<unsigned>(tiles * blocks)),
                                 kThreads, T::kSharedBytes, p.stream, blocks},
                                w, workspace, static_cast<int>(chunks), blocks,
                                Split(chunks, blocks), grid, out);
    }
  }
  auto* kernel = hopper_matmul_kernel<F, kTokens, false>;
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, T::kSharedBytes);
      error != cudaSuccess) {
    return error;
  }
  const auto grid_blocks =
      static_cast<unsigned>(std::min<std::int64_t>(tiles, p.multiprocessors));
  kernel<<<grid_blocks, kThreads, T::kSharedBytes, p.stream>>>(
      w, workspace, static_cast<int>(chunks), 1, Split(), grid, out);
  return cudaGetLastError();
}

template <Family F>
cudaError_t launch_family(const MatmulProblem& p) {
  switch (hopper_tile_tokens(p.tokens, p.features, p.multiprocessors)) {
    case 256:
      return launch<F, 256>(p);
    case 192:
      return launch<F, 192>(p);
    default:
      return launch<F, 128>(p);
  }
}

}  // namespace

int hopper_tile_tokens(std::int64_t tokens, std::int64_t features,
                       int multiprocessors) {
  // Waves of tiles times the cost of one. The weights are decoded once for each
  // tile of tokens, so that narrow tiles are less efficient.
  const auto cost = [&](int tile, double factor) {
    const std::int64_t tiles =
        ceil_div(tokens, tile) * ceil_div(features, kTileFeatures);
    return static_cast<double>(ceil_div(tiles, multiprocessors)) * tile *
           factor;
  };
  const double wide = cost(256, 1.0), middle = cost(192, 1.06),
               narrow = cost(128, 1.2);
  if (wide <= middle && wide <= narrow) return 256;
  return middle <= narrow ? 192 : 128;
}

std::int64_t hopper_workspace(std::int64_t tokens, std::int64_t cols,
                              int tile_tokens) {
  return ceil_div(tokens, tile_tokens) * tile_tokens *
         ceil_div(cols, kChunkColumns) * kChunkColumns * 2;
}

cudaError_t launch_hopper_matmul(const MatmulProblem& problem) {
  return dispatch_family(problem.format,
                         [&]<Family F>() { return launch_family<F>(problem); });
}

}  // namespace wush::kernels::cuda
