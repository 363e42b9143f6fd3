// Sums of fp4_matmul_few_hopper.cu on their way from the warps to the output.
#pragma once

#include <cstdint>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_few_hopper_plan.h"

namespace wush::kernels::cuda::few_hopper {

// What the blocks of a cluster have of a tile, warp by warp: a warp's sums with
// 16 features are shared out to the same warps of all blocks, which add them in
// the order of the blocks. They travel as a lane holds them, four at a time: 4
// bytes at a time took a multiprocessor 1.5 cycles each, with 32 tokens longer
// than the products. (fp4_matmul_few.cu, whose blocks send less, was mostly 1
// to 4 % slower that way.)
template <int kTokenTiles>
class ClusterSums {
 public:
  static constexpr int kQuads = 32 * kTokenTiles;
  // Quads of a warp's sums, with what is lost where blocks do not divide them.
  static constexpr int kRoom = kQuads + kMostBlocks;
  struct Barriers {
    std::uint64_t arrived;  // all blocks' sums of a tile
    std::uint64_t freed;    // all blocks have added theirs
  };

  __device__ ClusterSums(float4* memory, Barriers* barriers, const Plan& plan)
      : memory_(memory), barriers_(barriers), plan_(plan) {
    if (plan.blocks == 1) return;
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
      const int place = 32 * j + lane, block = plan.by_share.divide(place);
      const int to = place + (cluster_rank() - block) * plan.share;
      place_[j] = address_of(memory + to, block);
      arrived_[j] = address_of(&barriers->arrived, block);
    }
  }

  __device__ void init() const {
    barrier_init(&barriers_->arrived, 1);
    barrier_init(&barriers_->freed, plan_.blocks);
  }

  // The warp's sums of the `index`th tile that it takes.
  __device__ void send(const float (&sum)[4 * kTokenTiles], int index) const {
    if (index > 0) barrier_wait(&barriers_->freed, (index - 1) % 2);
    if (threadIdx.x % 32 == 0) {
      barrier_expect(&barriers_->arrived,
                     static_cast<unsigned>(16 * own_share() * plan_.blocks));
    }
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
      store_async(place_[j],
                  make_float4(sum[4 * j], sum[4 * j + 1], sum[4 * j + 2],
                              sum[4 * j + 3]),
                  arrived_[j]);
    }
  }

  // Adds what was sent of a tile; f(place, sums) for the block's share, place
  // 32 j + lane being what that lane held of tile j of the tokens. `again`:
  // there is another tile.
  template <class Function>
  __device__ void add(int index, bool again, const Function& f) const {
    const int lane = threadIdx.x % 32, own = own_share(), share = plan_.share;
    barrier_wait(&barriers_->arrived, index % 2);
    for (int p = lane; p < own; p += 32) {
      float4 total = memory_[p];
#pragma unroll 4
      for (int s = 1; s < plan_.blocks; ++s) {
        const float4 part = memory_[s * share + p];
        total.x += part.x, total.y += part.y;
        total.z += part.z, total.w += part.w;
      }
      f(cluster_rank() * share + p, total);
    }
    if (!again) return;
    __syncwarp();
    if (lane < plan_.blocks) barrier_arrive_of(&barriers_->freed, lane);
  }

 private:
  __device__ int own_share() const {
    return max(min(kQuads - cluster_rank() * plan_.share, plan_.share), 0);
  }

  float4* memory_;  // [block][place of this block's share]
  Barriers* barriers_;
  const Plan& plan_;
  // Where a lane's four sums with each tile of tokens go, and what counts them
  // there. Finding them anew for every tile took a third of the time of
  // sending.
  unsigned place_[kTokenTiles] = {}, arrived_[kTokenTiles] = {};
};

}  // namespace wush::kernels::cuda::few_hopper
