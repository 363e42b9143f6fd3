// Sums of fp4_matmul_few_hopper.cu on their way from the warps to the output.
#pragma once

#include <cstdint>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_few_hopper_plan.h"

namespace wush::kernels::cuda::few_hopper {

// What the blocks of a cluster have of the tiles of one warpgroup: the sums of
// each of its warps with 16 features are shared out to all blocks, which add
// them in the order of the blocks. They travel as a lane holds them, four at a
// time: 4 bytes at a time took a multiprocessor 1.5 cycles each, with 32 tokens
// longer than the products.
template <int kTokenTiles>
class ClusterSums {
 public:
  static constexpr int kQuads = 32 * kTokenTiles;  // of a warp
  struct Barriers {
    std::uint64_t arrived;  // all blocks' sums of a tile
    std::uint64_t freed;    // all blocks have added theirs
  };

  // `quads`: plan.group_quads() of them.
  __device__ ClusterSums(float4* quads, Barriers& barriers, const Plan& plan)
      : quads_(quads), barriers_(barriers), plan_(plan) {}

  __device__ void init() const {
    barrier_init(&barriers_.arrived, 1);
    barrier_init(&barriers_.freed, static_cast<unsigned>(plan_.blocks));
  }

  // Where a lane's four sums with each tile of tokens go, and what counts them
  // there. Finding them anew for every tile took a third of the time of
  // sending.
  class Places {
   public:
    __device__ explicit Places(const ClusterSums& to)
        : barriers_(to.barriers_) {
      const Plan& plan = to.plan_;
      if (plan.blocks == 1) return;
      const int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
        const int place = 32 * j + lane, block = plan.by_share.divide(place);
        const int there =
            (4 * cluster_rank() + warp - block) * plan.share + place;
        places_[j] = address_of(to.quads_ + there, block);
        arrived_[j] = address_of(&barriers_.arrived, block);
      }
    }
    // Of the `index`th tile.
    __device__ void send(const float (&sum)[4 * kTokenTiles], int index) const {
      if (index > 0) barrier_wait(&barriers_.freed, (index - 1) % 2);
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
        store_async(places_[j],
                    make_float4(sum[4 * j], sum[4 * j + 1], sum[4 * j + 2],
                                sum[4 * j + 3]),
                    arrived_[j]);
      }
    }

   private:
    Barriers& barriers_;
    unsigned places_[kTokenTiles] = {}, arrived_[kTokenTiles] = {};
  };

  // Adds the block's share of the `index`th tile, by `lanes` threads of which
  // this is the `lane`th; store(warp, place, sums), place 32 j + l being what
  // lane l of that warp held of tile j of the tokens.
  template <class Store>
  __device__ void add(int index, int lane, int lanes,
                      const Store& store) const {
    const int share = plan_.share, first = cluster_rank() * share;
    barrier_wait(&barriers_.arrived, index % 2);
    for (int p = lane; p < 4 * share; p += lanes) {
      const int warp = plan_.by_share.divide(p);
      const int place = first + p - warp * share;
      if (place >= kQuads) continue;
      float4 total = quads_[p];
#pragma unroll 4
      for (int s = 1; s < plan_.blocks; ++s) {
        const float4 part = quads_[s * 4 * share + p];
        total.x += part.x, total.y += part.y;
        total.z += part.z, total.w += part.w;
      }
      store(warp, place, total);
    }
  }

  // A warp of its own adds all `tiles` tiles but the last, for which those that
  // multiply have time. (When each of these added its own, that took 250 of its
  // instructions a tile, as many as 2/3 of a window with 32 tokens.)
  // store_of(index): `store` for a tile.
  __device__ void add_but_last(int tiles, const auto& store_of) const {
    const int lane = threadIdx.x % 32;
    const int own =
        max(min(kQuads - cluster_rank() * plan_.share, plan_.share), 0);
    for (int index = 0; index < tiles; ++index) {
      if (lane == 0) {
        barrier_expect(
            &barriers_.arrived,
            static_cast<unsigned>(kQuadBytes * 4 * own * plan_.blocks));
      }
      if (index + 1 == tiles) return;
      add(index, lane, 32, store_of(index));
      __syncwarp();
      if (lane < plan_.blocks) barrier_arrive_of(&barriers_.freed, lane);
      // Blocks that have a share are held back by the sums they wait for.
      if (own == 0) barrier_wait(&barriers_.freed, index % 2);
    }
  }

 private:
  float4* quads_;  // [block][warp][place of this block's share]
  Barriers& barriers_;
  const Plan& plan_;
};

}  // namespace wush::kernels::cuda::few_hopper
