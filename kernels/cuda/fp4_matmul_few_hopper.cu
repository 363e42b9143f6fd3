// Products with few tokens on sm_90a, bound by reading the weights: y^T = W x^T
// by warpgroup matrix instructions, whose second operand is as narrow as the
// tokens are few.
//
// The blocks of a cluster share the columns: each decodes its windows of all
// tokens once, to shared memory, where they stay; then the weights pass, in
// tiles of 64 features, one for each of three warpgroups at a time. What that
// needs:
//  - few instructions a weight, 2.3: weights are decoded in registers while the
//    tensor cores work on others; tokens cost the warps nothing, and the tensor
//    copies of one more warp bring the codes;
//  - no branch on scales: those that allow this are taken for granted (mxfp4),
//    and a tile with others, or with such tokens, is multiplied again, which is
//    rare;
//  - sums that wait for nobody: a warp sends its sums of a tile to those that
//    add them, and goes on; they are added while the next tile is multiplied;
//  - a short way to the tokens, for which everything waits: until the ring is
//    full, no more weights are asked for at a time than keep the memory busy;
//  - no gap between launches: the next one begins while this one ends and
//    brings its tokens to the second-level cache, and its first weights to
//    shared memory if they are settled (to that cache if they are not); what
//    else it reads and writes waits until this one has ended.
#include <cuda.h>

#include <optional>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_few_hopper_e8m0.cuh"
#include "kernels/cuda/fp4_few_hopper_operands.cuh"
#include "kernels/cuda/fp4_few_hopper_plan.h"
#include "kernels/cuda/fp4_few_hopper_sums.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/warpgroup.cuh"

namespace wush::kernels::cuda::few_hopper {
namespace {

constexpr const char* kName = "fp4_matmul";

// Of the block's sixteen barriers: where all tokens are decoded, and where the
// block's other barriers are set up.
constexpr int kDecoded = 1, kReady = 2;

// With 32 tokens the 128 registers that 13 warps leave a thread are too few:
// operands spill, or instructions wait for each other (mxfp4: 4 % slower). Then
// a whole warpgroup stands beside the three that multiply, one warp of which
// works: that group's registers go to the others. Where 128 do, more warps cost
// 0.7 %.
template <int kTokenTiles>
constexpr bool kMoreRegisters = kTokenTiles == 4;
template <int kTokenTiles>
constexpr int kLaunchedThreads = kMoreRegisters<kTokenTiles>
                                     ? 128 * (kWarpgroups + 1)
                                     : kThreads;

// Shared memory.
template <Family F, int kTokenTiles>
struct Memory {
  using Sums = ClusterSums<kTokenTiles>;
  using TokenWindow = typename Operands<F, kTokenTiles>::TokenWindow;
  using StageCodes = WindowCodes[kPair];
  struct Warp {
    float4 sums[Sums::kRoom];
    typename Sums::Barriers barriers;
  };
  struct Fixed {
    // As the 32-byte swizzle wants them, which mxfp4's do without.
    alignas(F == Family::kPowerOfTwo ? 128
                                     : 256) PairOfScales<F> scales[kMostStages];
    Warp warps[kWarps];
    std::uint64_t full[kMostStages], empty[kMostStages];
  };
  static_assert(sizeof(TokenWindow) % alignof(Fixed) == 0);
  // And what makes the first stage a multiple of 1024, beside stages and
  // windows.
  static constexpr int kFixedBytes = sizeof(Fixed) + 1023;

  StageCodes* codes;
  TokenWindow* tokens;
  Fixed* fixed;

  __device__ Memory(unsigned char* start, const Plan& plan) {
    start += -shared_address(start) & 1023u;
    codes = reinterpret_cast<StageCodes*>(start);
    tokens = reinterpret_cast<TokenWindow*>(codes + plan.stages);
    fixed = reinterpret_cast<Fixed*>(tokens + plan.windows.most());
  }
};

// What a block takes.
struct Share {
  WindowRange windows;
  std::int64_t tile;
  int tiles;
};

// f(tile, window) for every stage in the order of the ring: tiles that are
// multiplied side by side in turn.
template <class Function>
__device__ inline void for_each_stage(const Share& share, const Function& f) {
  for (int tile = 0; tile < share.tiles; tile += kWarpgroups) {
    const int together = min(kWarpgroups, share.tiles - tile);
    for (int w = 0; w < share.windows.count; w += share.windows.stage(w)) {
      for (int i = 0; i < together; ++i) f(tile + i, w);
    }
  }
}

// To the second-level cache: first weights, by the warp that copies, and the
// block's tokens, by the others.
__device__ inline void prefetch_weights(const CUtensorMap& map,
                                        const Share& share) {
  constexpr int kWindows = 8;
  const int lane = threadIdx.x % 32, together = min(kWarpgroups, share.tiles);
  if (lane < min(kWindows, together * share.windows.count)) {
    prefetch_box(&map, (share.windows.first + lane / together) * (kWindow / 2),
                 static_cast<int>(share.tile + lane % together) * kFeatures);
  }
}
template <Family F, int kTokenTiles>
__device__ inline void prefetch_tokens(const OperandRows<F>& x,
                                       std::int64_t token, const Share& share) {
  constexpr int kScales = PairOfScales<F>::kBytes;
  const auto* scales = static_cast<const std::uint8_t*>(x.scales);
  for (int i = threadIdx.x; i < 8 * kTokenTiles * share.windows.count;
       i += 32 * kWarps) {
    const std::int64_t row = token + i / share.windows.count;
    const int window = share.windows.first + i % share.windows.count;
    if (row >= x.rows) return;
    prefetch_line(x.codes + (row * x.cols + window * kWindow) / 2);
    if (window * kScales % 128 == 0 || window == share.windows.first) {
      prefetch_line(scales + (row * x.cols / kWindow + window) * kScales);
    }
  }
}

// Scales of `count` windows from `window` on, by a warp. Beyond the last row
// its own again.
template <Family F>
__device__ inline void copy_scales(PairOfScales<F>* to, const OperandRows<F>& w,
                                   std::int64_t row, int window, int count) {
  constexpr int kBytes = PairOfScales<F>::kBytes;
  for (int i = 0; i < count; ++i) {
#pragma unroll
    for (int r = threadIdx.x % 32; r < kFeatures; r += 32) {
      const std::int64_t from =
          min(row + r, w.rows - 1) * (w.cols / kWindow) + window + i;
      copy_async<kBytes>(
          to->rows + PairOfScales<F>::place(r, window + i),
          static_cast<const std::uint8_t*>(w.scales) + from * kBytes);
    }
  }
}

// How weights are copied. Tensor copies bring the scales where their rows are
// multiples of 16 bytes, as they are but for mxfp4's odd numbers of windows.
struct WeightMaps {
  CUtensorMap codes, scales;
  bool has_scales;
};

// Stages under way while the ring is filled for the first time. Tokens come
// behind all that has been asked for: with the whole ring 0.2 to 0.4 us later,
// and mxfp4 took 2 % longer. One does not keep the memory busy (9 %).
constexpr int kUnderWay = 2;

// The warp that copies the weights. announce() is called behind the first
// stage.
template <Family F, int kTokenTiles>
__device__ inline void copy_weights(const Memory<F, kTokenTiles>& memory,
                                    const WeightMaps& maps,
                                    const OperandRows<F>& w, const Share& share,
                                    int stages, const auto& announce) {
  using Scales = PairOfScales<F>;
  const int lane = threadIdx.x % 32;
  auto& fixed = *memory.fixed;
  int slot = 0;
  unsigned parity = 1;
  bool filling = true;
  for_each_stage(share, [&](int tile, int window) {
    std::uint64_t* full = &fixed.full[slot];
    const std::int64_t row = (share.tile + tile) * kFeatures;
    const int first = share.windows.first + window;
    const int count = share.windows.stage(window);
    barrier_wait(&fixed.empty[slot], parity);
    if (filling && slot >= kUnderWay) {
      barrier_wait(&fixed.full[slot - kUnderWay], 0);
    }
    if (lane == 0) {
      barrier_expect(
          full, static_cast<unsigned>(count * sizeof(WindowCodes) +
                                      (maps.has_scales ? sizeof(Scales) : 0)));
      for (int i = 0; i < count; ++i) {
        copy_box(&memory.codes[slot][i], &maps.codes,
                 (first + i) * (kWindow / 2), static_cast<int>(row), full);
      }
      if (maps.has_scales) {
        copy_box(&fixed.scales[slot], &maps.scales,
                 first / kPair * kPair * Scales::kBytes, static_cast<int>(row),
                 full);
      }
    }
    __syncwarp();
    if (!maps.has_scales) {
      copy_scales(&fixed.scales[slot], w, row, first, count);
      barrier_arrive_after_copies(full);
    }
    if (tile == 0 && window == 0) announce();
    if (++slot == stages) slot = 0, parity ^= 1, filling = false;
  });
}

// A warpgroup's tiles. `usual`: all tokens are, as Operands tells.
// store(tile, place, sums) as ClusterSums::add calls it.
template <Family F, int kTokenTiles>
__device__ inline void multiply_tiles(const Memory<F, kTokenTiles>& memory,
                                      const OperandRows<F>& w,
                                      const Share& share, const Plan& plan,
                                      bool usual, const auto& sums,
                                      const auto& store) {
  const int group = static_cast<int>(threadIdx.x / 128);
  auto& fixed = *memory.fixed;
  int slot = group;
  unsigned parity = 0;
#pragma unroll 1
  for (int tile = group, index = 0; tile < share.tiles;
       tile += kWarpgroups, ++index) {
    Operands<F, kTokenTiles> products;
    const int step = min(kWarpgroups, share.tiles - tile + group);
#pragma unroll 1
    for (int window = 0, count = 0; window < share.windows.count;
         window += count) {
      count = share.windows.stage(window);
      // First until the stage before has been read: the other barrier tells
      // phases by their parity only.
      barrier_wait(&fixed.empty[slot], parity ^ 1);
      barrier_wait(&fixed.full[slot], parity);
      const auto multiply = [&](int i, bool last) {
        products.add(memory.codes[slot][i], fixed.scales[slot],
                     share.windows.first + window + i,
                     memory.tokens[window + i], [&] {
                       __syncwarp();
                       if (last && threadIdx.x % 32 == 0) {
                         barrier_arrive(&fixed.empty[slot]);
                       }
                     });
      };
      multiply(0, count == 1);
      if (count > 1) multiply(1, true);
      slot += step;
      if (slot >= plan.stages) slot -= plan.stages, parity ^= 1;
      if (window == 0 && index > 0 && plan.blocks > 1) {
        sums.add(index - 1, true, [&](int place, const float4& total) {
          store(tile - kWarpgroups, place, total);
        });
      }
    }
    const std::int64_t row = (share.tile + tile) * kFeatures +
                             threadIdx.x % 128 / 32 * kRows +
                             threadIdx.x % 32 / 4;
    products.complete(w, row, share.windows, memory.tokens, usual);
    const auto& sum = products.sum;
    if (plan.blocks == 1) {
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
        store(tile, static_cast<int>(32 * j + threadIdx.x % 32),
              make_float4(sum[4 * j], sum[4 * j + 1], sum[4 * j + 2],
                          sum[4 * j + 3]));
      }
      continue;
    }
    sums.send(sum, index);
    if (tile + kWarpgroups >= share.tiles) {
      sums.add(index, false, [&](int place, const float4& total) {
        store(tile, place, total);
      });
    }
  }
}

// Needs cols % 256 == 0.
template <Family F, int kTokenTiles>
__global__ __launch_bounds__(
    kLaunchedThreads<kTokenTiles>,
    1) void few_hopper_matmul_kernel(const __grid_constant__ WeightMaps maps,
                                     OperandRows<F> w, bool settled,
                                     OperandRows<F> x, MmaOutput out,
                                     const __grid_constant__ Plan plan) {
  extern __shared__ unsigned char dynamic[];
  const Memory<F, kTokenTiles> memory(dynamic, plan);
  auto& fixed = *memory.fixed;
  const int rank = cluster_rank(), cluster = cluster_index();
  const Share share{
      {static_cast<int>(plan.windows.first(rank)), plan.windows.count(rank)},
      plan.tiles.first(cluster),
      plan.tiles.count(cluster)};
  const int warp = static_cast<int>(threadIdx.x / 32);
  const std::int64_t token = blockIdx.y * std::int64_t{8 * kTokenTiles};

  allow_next_launch();
  // Others of the block, or of the cluster, use the barriers of this warp.
  const auto announce = [&] {
    if (plan.blocks > 1) {
      cluster_arrive_relaxed();
    } else {
      wait_at_barrier<kReady>(kThreads);
    }
  };
  constexpr bool kMore = kMoreRegisters<kTokenTiles>;
  if (warp >= kWarps) {
    if constexpr (kMore) {
      give_registers<56>();
      if (warp > kWarps) return;
    }
    if (threadIdx.x % 32 == 0) {
      for (int i = 0; i < plan.stages; ++i) {
        // The bytes, and all lanes' copies of scales; four warps.
        barrier_init(&fixed.full[i], maps.has_scales ? 1 : 1 + 32);
        barrier_init(&fixed.empty[i], 4);
      }
      fence_barrier_init();
    }
    __syncwarp();
    if (!settled) {
      prefetch_weights(maps.codes, share);
      wait_for_previous_launch();
    }
    copy_weights(memory, maps, w, share, plan.stages, announce);
    if (plan.blocks > 1) cluster_wait();
    return;
  }
  if constexpr (kMore) take_registers<152>();
  auto& own = fixed.warps[warp];
  const ClusterSums<kTokenTiles> sums(own.sums, &own.barriers, plan);
  if (threadIdx.x % 32 == 0) {
    sums.init();
    fence_barrier_init();
  }
  __syncwarp();
  announce();
  // All clusters asking for the same lines took longer.
  if (cluster < 4) prefetch_tokens<F, kTokenTiles>(x, token, share);
  const bool own_usual = Operands<F, kTokenTiles>::decode_tokens(
      memory.tokens, x, token, share.windows,
      [] { wait_for_previous_launch(); });
  fence_shared_writes();
  const bool usual = all_at_barrier<kDecoded>(32 * kWarps, own_usual);
  if (plan.blocks > 1) cluster_wait();  // the others' barriers

  // What lane place % 32 holds of 16 features and of tile place / 32 of tokens.
  const auto store = [&](int tile, int place, const float4& sum) {
    const std::int64_t m = token + place / 32 * 8 + place % 4 * 2;
    const std::int64_t n =
        (share.tile + tile) * kFeatures + warp % 4 * kRows + place % 32 / 4;
    out.store(m, x.rows, n, w.rows, sum);
  };
  multiply_tiles(memory, w, share, plan, usual, sums, store);
}

template <Family F, int kTokenTiles>
class Launcher {
  using M = Memory<F, kTokenTiles>;
  static constexpr auto* kKernel = few_hopper_matmul_kernel<F, kTokenTiles>;
  static constexpr int kBlockThreads = kLaunchedThreads<kTokenTiles>;
  static constexpr int kWindowBytes = sizeof(typename M::TokenWindow);
  static constexpr int kStageBytes = sizeof(typename M::StageCodes);

 public:
  // Fails, or has no plan if the columns are too many.
  static cudaError_t plan(const MatmulProblem& p, Plan* plan) {
    int most = 0;
    *plan = {};
    const cudaError_t error = most_shared_memory(&most);
    if (error != cudaSuccess) return error;
    // Of the first device that asks: another one gets right results, too.
    static const Resident resident =
        query_resident(kKernel, kBlockThreads, most);
    *plan = choose_plan(
        {ceil_div(p.features, kFeatures), ceil_div(p.tokens, 8 * kTokenTiles),
         ceil_div(p.cols, kWindow), M::Sums::kQuads, most, M::kFixedBytes,
         kWindowBytes, kStageBytes},
        resident);
    if (plan->blocks <= kPortableBlocks) return cudaSuccess;
    return cudaFuncSetAttribute(
        kKernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }

  static Status launch(const MatmulProblem& p, const Plan& plan) {
    WeightMaps maps = {};
    if (Status s = encode_tensor_map(
            kName,
            {p.w.codes, p.features, p.cols / 2, CU_TENSOR_MAP_DATA_TYPE_UINT8,
             1, kFeatures, kWindow / 2},
            &maps.codes);
        !s.ok()) {
      return s;
    }
    constexpr int kScales = PairOfScales<F>::kBytes;
    const std::int64_t pitch = p.cols / kWindow * kScales;
    maps.has_scales = pitch % 16 == 0;
    if (maps.has_scales) {
      if (Status s = encode_tensor_map(
              kName,
              {p.w.scales, p.features, pitch, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1,
               kFeatures, kPair * kScales},
              &maps.scales);
          !s.ok()) {
        return s;
      }
    }
    const OperandRows<F> w{p.w.codes, p.w.scales, p.features, p.cols};
    const OperandRows<F> x{p.x.codes, p.x.scales, p.tokens, p.cols};
    const dim3 grid(static_cast<unsigned>(plan.clusters * plan.blocks),
                    static_cast<unsigned>(ceil_div(p.tokens, 8 * kTokenTiles)));
    const int bytes = M::kFixedBytes + plan.windows.most() * kWindowBytes +
                      plan.stages * kStageBytes;
    return check(launch_overlapping(
                     kKernel,
                     {grid, kBlockThreads, static_cast<std::size_t>(bytes),
                      p.stream, plan.blocks},
                     maps, w, p.w.settled, x, make_output(p), plan),
                 kName, {p.tokens, p.features, p.cols});
  }
};

// Nothing if it has no plan.
template <Family F, int kTokenTiles>
std::optional<Status> launch_tiles(const MatmulProblem& p) {
  using L = Launcher<F, kTokenTiles>;
  Plan plan;
  if (const cudaError_t error = L::plan(p, &plan); error != cudaSuccess) {
    return check(error, kName, {p.tokens, p.features, p.cols});
  }
  if (plan.blocks == 0) return std::nullopt;
  return L::launch(p, plan);
}

}  // namespace
}  // namespace wush::kernels::cuda::few_hopper

namespace wush::kernels::cuda {

std::optional<Status> launch_few_hopper_matmul(const MatmulProblem& problem) {
  return dispatch_family(problem.format, [&]<Family F>() {
    return problem.tokens <= 8    ? few_hopper::launch_tiles<F, 1>(problem)
           : problem.tokens <= 16 ? few_hopper::launch_tiles<F, 2>(problem)
                                  : few_hopper::launch_tiles<F, 4>(problem);
  });
}

}  // namespace wush::kernels::cuda
