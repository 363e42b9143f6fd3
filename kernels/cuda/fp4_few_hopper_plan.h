// How fp4_matmul_few_hopper.cu shares a product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/resident.h"
#include "kernels/cuda/split.h"

namespace wush::kernels::cuda::few_hopper {

inline constexpr int kFeatures = 64;  // of a tile
inline constexpr int kWindow = 256;   // columns
// Windows of a stage of the ring, of which a block's last may have one.
inline constexpr int kPair = 2;
inline constexpr int kMostStages = 8;

// Three warpgroups that multiply, a warp that copies, and for each of the three
// a warp that adds its sums: 128 registers a thread; a warpgroup more that
// multiplies would leave 96.
inline constexpr int kWarpgroups = 3;
inline constexpr int kWarps = 4 * kWarpgroups;
inline constexpr int kThreads = 32 * (kWarps + 1 + kWarpgroups);

inline constexpr int kQuadBytes = 16;  // four sums, as they travel

// The clusters take a range of the tiles of features each, the blocks of a
// cluster a range of the windows of columns, the warpgroups of a block tiles in
// turn.
struct Plan {
  int blocks;  // of a cluster
  int share;   // of a warp's sums, what each block adds, by four
  Divisor by_share;
  int clusters;   // for each tile of tokens
  int stages;     // of the ring
  Split windows;  // of the blocks
  Split tiles;    // of the clusters

  // What a block is sent of a warpgroup's sums, by four, with what is lost
  // where blocks do not divide a warp's.
  constexpr int group_quads() const {
    return blocks > 1 ? blocks * 4 * share : 0;
  }
};

// What choose_plan weighs.
struct PlanSizes {
  std::int64_t tiles;        // of features
  std::int64_t token_tiles;  // that are computed beside each other
  std::int64_t windows;
  int warp_quads;  // a warp's sums of a tile, by four
  // Shared memory: what a block may have, what it needs beside windows of
  // tokens and stages, and those.
  int room, fixed_bytes, window_bytes, stage_bytes;
};

// The plan of the least time; without blocks if the columns are too many. Time
// in nanoseconds, fitted to the layers of figure 2 with 8, 16 and 32 tokens of
// mxfp4 and nvfp4 on an H100, settled weights: 0.35 % longer in the mean than
// with the best size of a cluster, at most 4.5 %.
inline Plan choose_plan(const PlanSizes& p, const Resident& resident) {
  Plan best = {};
  std::int64_t least = 0;
  for (int blocks = 1; blocks <= std::min<std::int64_t>(p.windows, kMostBlocks);
       ++blocks) {
    Plan plan = {};
    plan.blocks = blocks;
    plan.share = static_cast<int>(ceil_div(p.warp_quads, blocks));
    const std::int64_t windows = ceil_div(p.windows, blocks);
    const std::int64_t left = p.room - p.fixed_bytes -
                              windows * p.window_bytes -
                              kWarpgroups * plan.group_quads() * kQuadBytes;
    const auto stages = static_cast<int>(
        std::min<std::int64_t>(left / p.stage_bytes, kMostStages));
    if (resident.clusters[blocks] == 0 || left < 0 || stages < kWarpgroups) {
      continue;
    }
    const std::int64_t clusters = std::clamp<std::int64_t>(
        resident.clusters[blocks] / p.token_tiles, 1, p.tiles);
    const std::int64_t tiles = ceil_div(p.tiles, clusters);
    // Of a window and of a tile with one, two and three warpgroups at work.
    constexpr int kWindowTime[kWarpgroups + 1] = {0, 467, 627, 958};
    const std::int64_t tile_time = 929 + 5 * p.warp_quads / 8;
    const std::int64_t rest = tiles % kWarpgroups;
    const std::int64_t multiply =
        tiles / kWarpgroups * (windows * kWindowTime[kWarpgroups] + tile_time) +
        (rest > 0 ? windows * kWindowTime[rest] + tile_time : 0);
    // As if 53 multiprocessors asked for all that the memory can give. What
    // overlaps does so the less, the shorter the ring is.
    const std::int64_t at_work = clusters * blocks * p.token_tiles;
    const std::int64_t memory = p.tiles * p.windows * p.token_tiles * 262 /
                                100 * std::max<std::int64_t>(53, at_work) /
                                at_work;
    const std::int64_t cost = std::max(multiply, memory) +
                              std::min(multiply, memory) * 3 / (2 * stages) +
                              13 * p.warp_quads / 8 * windows + 5 * blocks;
    if (best.blocks > 0 && cost >= least) continue;
    least = cost;
    plan.by_share = Divisor(plan.share);
    plan.clusters = static_cast<int>(clusters);
    plan.stages = stages;
    plan.windows = {p.windows, blocks};
    plan.tiles = {p.tiles, clusters};
    best = plan;
  }
  return best;
}

}  // namespace wush::kernels::cuda::few_hopper
