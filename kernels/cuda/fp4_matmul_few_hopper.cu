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
//  - sums that wait for nobody: a warp sends its sums of a tile and goes on;
//    warps of their own add them while the next tile is multiplied;
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
#include "kernels/cuda/fp4_few_hopper_ring.cuh"
#include "kernels/cuda/fp4_few_hopper_sums.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/warpgroup.cuh"

namespace wush::kernels::cuda::few_hopper {
namespace {

constexpr const char* kName = "fp4_matmul";

// Of the block's sixteen barriers: where all tokens are decoded, and where the
// block's other barriers are set up.
constexpr int kDecoded = 1, kReady = 2;

// With 32 tokens the 128 registers that 16 warps leave a thread are too few:
// operands spill, or instructions wait for each other (mxfp4: 4 % slower). Then
// registers of the fourth warpgroup go to the three that multiply.
template <int kTokenTiles>
constexpr bool kMoreRegisters = kTokenTiles == 4;

// A warpgroup's tiles. `usual`: all tokens are, as Operands tells. done(index,
// sums): what a warp has of the `index`th of them.
template <Family F, int kTokenTiles>
__device__ inline void multiply_tiles(const Memory<F, kTokenTiles>& memory,
                                      const OperandRows<F>& w,
                                      const Share& share, int stages,
                                      bool usual, const auto& done) {
  const int group = static_cast<int>(threadIdx.x / 128);
  auto& fixed = *memory.fixed;
  int slot = group, index = 0;
  unsigned parity = 0;
#pragma unroll 1
  for (int tile = group; tile < share.tiles; tile += kWarpgroups, ++index) {
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
        products.add(memory.codes[slot][i], memory.scales[slot],
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
      if (slot >= stages) slot -= stages, parity ^= 1;
    }
    const std::int64_t row = (share.tile + tile) * kFeatures +
                             threadIdx.x % 128 / 32 * kRows +
                             threadIdx.x % 32 / 4;
    products.complete(w, row, share.windows, memory.tokens, usual);
    done(index, products.sum);
  }
}

template <Family F>
struct Arguments {
  WeightMaps maps;
  OperandRows<F> w;
  bool settled;
  OperandRows<F> x;
  MmaOutput out;
  Plan plan;
};

// A block's place in the launch, found once by all warps, and what each kind of
// them does there. Whatever else two kinds share they find on their own: it
// would be alive, and spill, where registers are given away.
template <Family F, int kTokenTiles>
struct Block {
  using Sums = ClusterSums<kTokenTiles>;

  const Arguments<F>& arguments;
  const Plan& plan = arguments.plan;
  Memory<F, kTokenTiles> memory;
  Share share;
  std::int64_t token = blockIdx.y * std::int64_t{8 * kTokenTiles};

  __device__ Block(unsigned char* shared, const Arguments<F>& a)
      : arguments(a), memory(shared, a.plan) {
    const int rank = cluster_rank(), cluster = cluster_index();
    share = {
        {static_cast<int>(plan.windows.first(rank)), plan.windows.count(rank)},
        plan.tiles.first(cluster),
        plan.tiles.count(cluster)};
  }

  // Others of the block, or of the cluster, use the barriers of this warp.
  __device__ void announce() const {
    if (plan.blocks > 1) {
      cluster_arrive_relaxed();
    } else {
      wait_at_barrier<kReady>(kThreads);
    }
  }
  __device__ Sums sums_of(int group) const {
    return {memory.quads + group * plan.group_quads(),
            memory.fixed->sums[group], plan};
  }
  // For sums of a group's `index`th tile: what lane place % 32 of a warp holds
  // of 16 features, and of tile place / 32 of tokens.
  __device__ auto store_of(int group, int index) const {
    const MmaTile tile = arguments.out.tile(
        token, arguments.x.rows,
        (share.tile + index * kWarpgroups + group) * kFeatures,
        arguments.w.rows);
    return [tile](unsigned warp, unsigned place, const float4& sum) {
      tile.store(static_cast<int>(place / 32 * 8 + place % 4 * 2),
                 static_cast<int>(warp * kRows + place % 32 / 4), sum);
    };
  }
  __device__ int tiles_of(int group) const {  // ceil_div's 64 bits cost more
    return (share.tiles - group + kWarpgroups - 1) / kWarpgroups;
  }

  // The warp that copies weights.
  __device__ void copy() const {
    if (threadIdx.x % 32 == 0) {
      for (int i = 0; i < plan.stages; ++i) {
        // The bytes, and all lanes' copies of scales; four warps.
        barrier_init(&memory.fixed->full[i],
                     has_scales<F>(arguments.maps) ? 1 : 1 + 32);
        barrier_init(&memory.fixed->empty[i], 4);
      }
      fence_barrier_init();
    }
    __syncwarp();
    if (!arguments.settled) {
      prefetch_weights(arguments.maps.codes, share);
      wait_for_previous_launch();
    }
    copy_weights(memory, arguments.maps, arguments.w, share, plan.stages,
                 [&] { announce(); });
    if (plan.blocks > 1) cluster_wait();
  }

  // The warp that adds sums of a group.
  __device__ void add(int group) const {
    const Sums sums = sums_of(group);
    if (threadIdx.x % 32 == 0) {
      sums.init();
      fence_barrier_init();
    }
    __syncwarp();
    announce();
    if (plan.blocks == 1) return;
    wait_for_previous_launch();  // before anything is written
    cluster_wait();
    sums.add_but_last(tiles_of(group),
                      [&](int index) { return store_of(group, index); });
  }

  // The warps that multiply.
  __device__ void multiply() const {
    const int warp = static_cast<int>(threadIdx.x / 32), group = warp / 4;
    const Sums sums = sums_of(group);
    const typename Sums::Places places(sums);
    announce();
    // All clusters asking for the same lines took longer.
    if (cluster_index() < 4) {
      prefetch_tokens<F, kTokenTiles>(arguments.x, token, share);
    }
    const bool own_usual = Operands<F, kTokenTiles>::decode_tokens(
        memory.tokens, arguments.x, token, share.windows,
        [] { wait_for_previous_launch(); });
    fence_shared_writes();
    const bool usual = all_at_barrier<kDecoded>(32 * kWarps, own_usual);
    if (plan.blocks > 1) cluster_wait();  // the others' barriers
    multiply_tiles(memory, arguments.w, share, plan.stages, usual,
                   [&](int index, const auto& sum) {
                     if (plan.blocks > 1) {
                       places.send(sum, index);
                       return;
                     }
                     const auto store = store_of(group, index);
#pragma unroll
                     for (int j = 0; j < kTokenTiles; ++j) {
                       store(warp % 4,
                             static_cast<int>(32 * j + threadIdx.x % 32),
                             make_float4(sum[4 * j], sum[4 * j + 1],
                                         sum[4 * j + 2], sum[4 * j + 3]));
                     }
                   });
    const int tiles = tiles_of(group);
    if (plan.blocks > 1 && tiles > 0) {
      sums.add(tiles - 1, threadIdx.x % 128, 128, store_of(group, tiles - 1));
    }
  }
};

// Needs cols % 256 == 0.
template <Family F, int kTokenTiles>
__global__ __launch_bounds__(kThreads, 1) void few_hopper_matmul_kernel(
    const __grid_constant__ Arguments<F> arguments) {
  extern __shared__ unsigned char dynamic[];
  constexpr bool kMore = kMoreRegisters<kTokenTiles>;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const Block<F, kTokenTiles> block(dynamic, arguments);
  allow_next_launch();
  if (warp >= kWarps) {
    if constexpr (kMore) give_registers<56>();
    if (warp == kWarps) {
      block.copy();
    } else {
      block.add(warp - kWarps - 1);
    }
  } else {
    if constexpr (kMore) take_registers<152>();
    block.multiply();
  }
}

template <Family F, int kTokenTiles>
class Launcher {
  using M = Memory<F, kTokenTiles>;
  static constexpr auto* kKernel = few_hopper_matmul_kernel<F, kTokenTiles>;

 public:
  // Fails, or has no plan if the columns are too many.
  static cudaError_t plan(const MatmulProblem& p, Plan* plan) {
    int most = 0;
    *plan = {};
    const cudaError_t error = most_shared_memory(&most);
    if (error != cudaSuccess) return error;
    // Of the first device that asks: another one gets right results, too.
    static const Resident resident = query_resident(kKernel, kThreads, most);
    *plan = choose_plan(
        {ceil_div(p.features, kFeatures), ceil_div(p.tokens, 8 * kTokenTiles),
         ceil_div(p.cols, kWindow), M::Sums::kQuads, most, M::kFixedBytes,
         sizeof(typename M::TokenWindow), M::kStageBytes},
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
    return check(
        launch_overlapping(
            kKernel,
            {grid, kThreads, static_cast<std::size_t>(M::bytes(plan)), p.stream,
             plan.blocks},
            Arguments<F>{maps, w, p.w.settled, x, make_output(p), plan}),
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
