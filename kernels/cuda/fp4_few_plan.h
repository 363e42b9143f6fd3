// How fp4_matmul_few.cu shares a product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/resident.h"
#include "kernels/cuda/split.h"

namespace wush::kernels::cuda::few {

inline constexpr int kWarps = 16, kThreads = kWarps * 32;
inline constexpr int kFeatures = 16;  // of a tile
// Chunks of 128 columns that a warp takes at a time: 128 bytes of a row. The
// columns of a matrix are counted in such pairs, of which the last may be half
// empty.
inline constexpr int kPair = 2;

// The clusters take a range of the tiles of features each, the blocks of a
// cluster a range of the columns, the groups of a block's warps tiles in turn,
// the warps of a group pairs in turn.
struct Plan {
  int blocks;    // of a cluster
  int clusters;  // for each tile of tokens
  int columns;   // warps of a group
  int groups;    // of a block
  int share;     // of a tile's sums, what each block completes
  Divisor by_columns, by_share;
  Split pairs;  // of the blocks
  Split tiles;  // of the clusters
  Split turns;  // tiles.each of the groups
};

// What a warp takes: of every tile tile, tile + plan.groups, ... the pairs
// column, column + plan.columns, ... of its block's.
struct WarpShare {
  int group, column;
  int first, pairs;   // of the block
  std::int64_t tile;  // the first
  int tiles;          // 0 for warps beside the groups
};

constexpr WarpShare share_of_warp(const Plan& plan, int cluster, int rank,
                                  int warp) {
  WarpShare share = {};
  share.group = plan.by_columns.divide(warp);
  share.column = warp - share.group * plan.columns;
  share.first = static_cast<int>(plan.pairs.first(rank));
  share.pairs = plan.pairs.count(rank);
  share.tile = plan.tiles.first(cluster) + share.group;
  if (share.group >= plan.groups) return share;
  // A cluster with one tile more gives it to the next group.
  const int more =
      plan.turns.more + plan.tiles.count(cluster) - plan.tiles.each;
  share.tiles = plan.turns.each + (share.group < more ? 1 : 0);
  return share;
}

// What choose_plan weighs.
struct PlanSizes {
  std::int64_t tiles;        // of features
  std::int64_t token_tiles;  // that are computed beside each other
  std::int64_t pairs;
  std::int64_t room;  // pairs of tokens that a block's shared memory holds
  int tile_sums;      // features times tokens of a tile
  int multiprocessors;
};

// The plan of the least time; without blocks if the columns are too many. Time
// is counted in fortieths of what all multiprocessors take to multiply a pair
// for each warp (1.6 us), of which memory leaves fewer of them 34. A group's
// tile costs 10 and one for each warp and block whose sums are added, decoding
// 16 tokens' pair 1, and clusters meet late: 20 and 12 for each block. (Fitted
// to the layers of figure 2 on an H100 with 16 and 32 tokens: within 4 % of the
// best size.)
inline Plan choose_plan(const PlanSizes& p, const Resident& resident) {
  Plan best = {};
  std::int64_t least = 0;
  for (int blocks = 1; blocks <= std::min<std::int64_t>(p.pairs, kMostBlocks);
       ++blocks) {
    const std::int64_t pairs = ceil_div(p.pairs, blocks);
    if (resident.clusters[blocks] == 0 || pairs > p.room) continue;
    const std::int64_t clusters = std::clamp<std::int64_t>(
        resident.clusters[blocks] / p.token_tiles, 1, p.tiles);
    const std::int64_t step = std::max<std::int64_t>(
        34, 40 * clusters * p.token_tiles * blocks / p.multiprocessors);
    for (const int groups : {16, 8, 5, 4, 3, 2, 1}) {
      const auto columns = static_cast<int>(
          std::min<std::int64_t>(kWarps / groups, p.pairs / blocks));
      const std::int64_t turns = ceil_div(ceil_div(p.tiles, clusters), groups);
      const std::int64_t cost =
          turns * (step * ceil_div(pairs, columns) + 10 + blocks * columns) +
          pairs * p.tile_sums / 256 + (blocks > 1 ? 20 + 12 * blocks : 0);
      if (best.blocks > 0 && cost >= least) continue;
      least = cost;
      best.blocks = blocks;
      best.clusters = static_cast<int>(clusters);
      best.columns = columns;
      best.groups = groups;
      best.share = static_cast<int>(ceil_div(p.tile_sums, blocks));
      best.by_columns = Divisor(columns);
      best.by_share = Divisor(best.share);
      best.pairs = {p.pairs, blocks};
      best.tiles = {p.tiles, clusters};
      best.turns = {best.tiles.each, groups};
    }
  }
  return best;
}

}  // namespace wush::kernels::cuda::few
