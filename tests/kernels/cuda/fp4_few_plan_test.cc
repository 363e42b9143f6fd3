// How the product with few tokens is shared; no device needed.
#include "kernels/cuda/fp4_few_plan.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace wush {
namespace {

using namespace kernels::cuda::few;
using kernels::cuda::Divisor;
using kernels::cuda::Resident;
using kernels::cuda::Split;

// What an H100 of 132 multiprocessors runs at once, and a device that knows no
// clusters.
constexpr Resident kH100 = {
    {0, 132, 66, 39, 30, 22, 17, 15, 15, 7, 7, 7, 7, 7, 7, 7, 7}};
constexpr Resident kAlone = {{0, 108}};

// With about the room that 227 KiB of shared memory leave.
PlanSizes sizes(std::int64_t features, std::int64_t cols, int tokens,
                std::int64_t token_tiles = 1) {
  return {(features + kFeatures - 1) / kFeatures,
          token_tiles,
          (cols + 128 * kPair - 1) / (128 * kPair),
          tokens == 32   ? 9
          : tokens == 16 ? 17
                         : 37,
          kFeatures * tokens,
          132};
}

TEST(FewPlan, DividesExactly) {
  for (int b = 1; b <= 512; ++b) {
    const Divisor divisor(b);
    for (int a = 0; a <= 512; ++a) ASSERT_EQ(divisor.divide(a), a / b);
    const int last = 0x7fffffff / b;
    for (int a = last - 512; a < last; ++a) ASSERT_EQ(divisor.divide(a), a / b);
  }
}

TEST(FewPlan, SplitsCoverAll) {
  for (const std::int64_t all : {0, 1, 7, 16, 100}) {
    for (const int of : {1, 3, 7, 16}) {
      const Split split(all, of);
      int next = 0;
      for (int i = 0; i < of; ++i) {
        EXPECT_EQ(split.first(i), next);
        EXPECT_LE(split.count(i), split.most());
        next += split.count(i);
      }
      EXPECT_EQ(next, all);
    }
  }
}

// Every pair of every tile is some warp's, once; every warp of a group has one
// of every tile, since all are waited for; no block holds more than it has room
// for, and no more clusters are launched than run at once.
void check_coverage(const PlanSizes& p, const Resident& resident) {
  const Plan plan = choose_plan(p, resident);
  ASSERT_GT(plan.blocks, 0);
  ASSERT_LE(
      plan.clusters * p.token_tiles,
      std::max<std::int64_t>(resident.clusters[plan.blocks], p.token_tiles));
  ASSERT_LE(plan.pairs.most(), p.room);
  ASSERT_LE(plan.columns * plan.groups, kWarps);
  ASSERT_GE(plan.share * plan.blocks, p.tile_sums);
  std::vector<int> taken(static_cast<std::size_t>(p.tiles * p.pairs));
  for (int cluster = 0; cluster < plan.clusters; ++cluster) {
    for (int rank = 0; rank < plan.blocks; ++rank) {
      for (int warp = 0; warp < kWarps; ++warp) {
        const WarpShare share = share_of_warp(plan, cluster, rank, warp);
        ASSERT_TRUE(share.group < plan.groups || share.tiles == 0);
        ASSERT_LT(share.column, plan.columns);
        ASSERT_TRUE(share.tiles == 0 || share.column < share.pairs);
        for (int i = 0; i < share.tiles; ++i) {
          const std::int64_t tile = share.tile + i * plan.groups;
          ASSERT_LT(tile, p.tiles);
          for (int j = share.column; j < share.pairs; j += plan.columns) {
            ++taken[static_cast<std::size_t>(tile * p.pairs + share.first + j)];
          }
        }
      }
    }
  }
  for (const int times : taken) ASSERT_EQ(times, 1);
}

TEST(FewPlan, EveryPairOfEveryTileIsTakenOnce) {
  for (const int tokens : {8, 16, 32}) {
    for (const std::int64_t features :
         {1, 16, 17, 260, 1000, 4096, 5120, 8192, 24576}) {
      for (const std::int64_t cols :
           {128, 256, 384, 1152, 4096, 4224, 5120, 9600, 12288, 17408}) {
        SCOPED_TRACE(::testing::Message()
                     << tokens << " x " << features << " x " << cols);
        const PlanSizes p = sizes(features, cols, tokens);
        ASSERT_NO_FATAL_FAILURE(check_coverage(p, kH100));
        if (p.pairs <= p.room) {
          ASSERT_NO_FATAL_FAILURE(check_coverage(p, kAlone));
        }
      }
    }
  }
  // More tiles of tokens than clusters.
  ASSERT_NO_FATAL_FAILURE(check_coverage(sizes(700, 4096, 32, 200), kH100));
}

TEST(FewPlan, IsNoneWhereTheColumnsAreTooMany) {
  EXPECT_GT(choose_plan(sizes(64, 16 * 9 * 256, 32), kH100).blocks, 0);
  EXPECT_EQ(choose_plan(sizes(64, 16 * 9 * 256 + 128, 32), kH100).blocks, 0);
  EXPECT_EQ(choose_plan(sizes(64, 10 * 256, 32), kAlone).blocks, 0);
}

// The layers of figure 2: the busiest warps take at most 1.55 times an even
// share of the pairs of all tiles. (Clusters of six leave 30 of 132
// multiprocessors out; 8192 x 8192 with 32 tokens has 1.547.)
TEST(FewPlan, SharesTheLayersOfFigure2Evenly) {
  constexpr std::int64_t kLayers[][2] = {
      {4096, 4096},  {24576, 4096}, {4096, 12288}, {5120, 5120}, {34816, 5120},
      {5120, 17408}, {8192, 8192},  {57344, 8192}, {8192, 28672}};
  for (const int tokens : {16, 32}) {
    for (const auto& [features, cols] : kLayers) {
      const PlanSizes p = sizes(features, cols, tokens);
      const Plan plan = choose_plan(p, kH100);
      const double even = static_cast<double>(p.tiles * p.pairs) / 132 / kWarps;
      const int busiest =
          plan.turns.most() *
          ((plan.pairs.most() + plan.columns - 1) / plan.columns);
      EXPECT_LE(busiest, 1.55 * even)
          << tokens << " x " << features << " x " << cols;
    }
  }
}

}  // namespace
}  // namespace wush
