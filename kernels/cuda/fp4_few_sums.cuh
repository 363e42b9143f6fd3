// Sums of fp4_matmul_few.cu on their way from the warps to the output.
#pragma once

#include <cstdint>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_few_plan.h"

namespace wush::kernels::cuda::few {

// A group's sums of a tile on their way to the output. Each block of the
// cluster completes a share of them.
template <int kTileSums>
class GroupSums {
 public:
  // Floats of a warp's sums, with what is lost where blocks do not divide them.
  static constexpr int kRoom = kTileSums + kMostBlocks;
  struct Barriers {
    std::uint64_t arrived;  // all warps' sums of a tile
    std::uint64_t freed;    // they have been added
  };

  // `memory`: kRoom for each warp of the group.
  __device__ GroupSums(float* memory, Barriers* barriers, int column,
                       const Plan& plan)
      : memory_(memory),
        barriers_(barriers),
        plan_(plan),
        column_(column),
        share_(plan.share) {}

  __device__ void init() const {
    // A lone block's lanes arrive, each for what it wrote or read; of a cluster
    // the bytes that were written are counted, and warps arrive.
    const bool alone = plan_.blocks == 1;
    barrier_init(&barriers_->arrived, alone ? 32 * plan_.columns : 1);
    barrier_init(&barriers_->freed,
                 plan_.columns * (alone ? 32 : plan_.blocks));
  }

  // The warp's sums of the group's `index`th tile.
  template <int kTokenTiles>
  __device__ void send(const float (&sum)[kTokenTiles][4], int index) const {
    const int lane = threadIdx.x % 32;
    if (index > 0) barrier_wait(&barriers_->freed, (index - 1) % 2);
    const int from = cluster_rank() * plan_.columns + column_;
    const int first = lane % 4 * 2 * kFeatures + lane / 4;
    if (plan_.blocks == 1) {
      float* to = memory_ + from * kTileSums + first;
#pragma unroll
      for (int i = 0; i < kTokenTiles * 4; ++i) {
        to[offset(i)] = sum[i / 4][i % 4];
      }
      barrier_arrive(&barriers_->arrived);
      return;
    }
    if (column_ == 0 && lane == 0) {
      barrier_expect(&barriers_->arrived,
                     static_cast<unsigned>(4 * own_share() * senders()));
    }
#pragma unroll
    for (int i = 0; i < kTokenTiles * 4; ++i) {
      const int place = first + offset(i), block = plan_.by_share.divide(place);
      store_async(
          address_of(memory_ + from * share_ + (place - block * share_), block),
          sum[i / 4][i % 4], address_of(&barriers_->arrived, block));
    }
  }

  // Adds what the group's warps sent of a tile; f(place, sum) for the block's
  // share. `again`: there is another tile.
  template <class Function>
  __device__ void add(int index, bool again, const Function& f) const {
    const int lane = threadIdx.x % 32, count = senders(), own = own_share();
    barrier_wait(&barriers_->arrived, index % 2);
    for (int p = column_ * 32 + lane; p < own; p += plan_.columns * 32) {
      float total = memory_[p];
      for (int s = 1; s < count; ++s) total += memory_[s * share_ + p];
      f(cluster_rank() * share_ + p, total);
    }
    if (!again) return;
    if (plan_.blocks == 1) {
      barrier_arrive(&barriers_->freed);
      return;
    }
    __syncwarp();
    if (lane < plan_.blocks) barrier_arrive_of(&barriers_->freed, lane);
  }

 private:
  // From a lane's first place: tokens 8 j + 0, 1, features 0, 8.
  __device__ static constexpr int offset(int i) {
    return (8 * (i / 4) + i % 2) * kFeatures + i % 4 / 2 * 8;
  }
  __device__ int senders() const { return plan_.blocks * plan_.columns; }
  __device__ int own_share() const {
    return max(min(kTileSums - cluster_rank() * share_, share_), 0);
  }

  float* memory_;  // [sender][place of the block's share]
  Barriers* barriers_;
  const Plan& plan_;
  int column_, share_;
};

}  // namespace wush::kernels::cuda::few
