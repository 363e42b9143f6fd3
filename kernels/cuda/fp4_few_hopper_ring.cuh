// The weights' way to the warps of fp4_matmul_few_hopper.cu: a block's shared
// memory, its share of the product, and the warp that fills the ring.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_few_hopper_e8m0.cuh"
#include "kernels/cuda/fp4_few_hopper_operands.cuh"
#include "kernels/cuda/fp4_few_hopper_plan.h"
#include "kernels/cuda/fp4_few_hopper_sums.cuh"
#include "kernels/cuda/hopper.cuh"

namespace wush::kernels::cuda::few_hopper {

// Shared memory: as many stages, windows of tokens and sums as the plan says.
template <Family F, int kTokenTiles>
struct Memory {
  using Sums = ClusterSums<kTokenTiles>;
  using TokenWindow = typename Operands<F, kTokenTiles>::TokenWindow;
  using StageCodes = WindowCodes[kPair];
  struct Fixed {
    typename Sums::Barriers sums[kWarpgroups];
    std::uint64_t full[kMostStages], empty[kMostStages];
  };
  // As the 32-byte swizzle of scales wants it, which mxfp4's do without.
  static_assert(sizeof(TokenWindow) % (F == Family::kPowerOfTwo ? 128 : 256) ==
                0);
  static constexpr int kStageBytes =
      sizeof(StageCodes) + sizeof(PairOfScales<F>);
  // And what makes the first stage a multiple of 1024.
  static constexpr int kFixedBytes = sizeof(Fixed) + 1023;

  StageCodes* codes;
  TokenWindow* tokens;
  PairOfScales<F>* scales;
  float4* quads;  // ClusterSums, of each warpgroup
  Fixed* fixed;

  __device__ Memory(unsigned char* start, const Plan& plan) {
    start += -shared_address(start) & 1023u;
    codes = reinterpret_cast<StageCodes*>(start);
    tokens = reinterpret_cast<TokenWindow*>(codes + plan.stages);
    scales = reinterpret_cast<PairOfScales<F>*>(tokens + plan.windows.most());
    quads = reinterpret_cast<float4*>(scales + plan.stages);
    fixed = reinterpret_cast<Fixed*>(quads + kWarpgroups * plan.group_quads());
  }
  static int bytes(const Plan& plan) {
    return kFixedBytes +
           plan.windows.most() * static_cast<int>(sizeof(TokenWindow)) +
           plan.stages * kStageBytes +
           kWarpgroups * plan.group_quads() * kQuadBytes;
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
template <Family F>
__device__ inline bool has_scales(const WeightMaps& maps) {
  return F != Family::kPowerOfTwo || maps.has_scales;
}

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
  const bool tensor_scales = has_scales<F>(maps);
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
                                      (tensor_scales ? sizeof(Scales) : 0)));
      for (int i = 0; i < count; ++i) {
        copy_box(&memory.codes[slot][i], &maps.codes,
                 (first + i) * (kWindow / 2), static_cast<int>(row), full);
      }
      if (tensor_scales) {
        copy_box(&memory.scales[slot], &maps.scales,
                 first / kPair * kPair * Scales::kBytes, static_cast<int>(row),
                 full);
      }
    }
    __syncwarp();
    if (!tensor_scales) {
      copy_scales(&memory.scales[slot], w, row, first, count);
      barrier_arrive_after_copies(full);
    }
    if (tile == 0 && window == 0) announce();
    if (++slot == stages) slot = 0, parity ^= 1, filling = false;
  });
}

}  // namespace wush::kernels::cuda::few_hopper
