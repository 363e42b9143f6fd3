// How the product with few tokens is shared on sm_90a; no device needed.
#include "kernels/cuda/fp4_few_hopper_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace wush {
namespace {

using namespace kernels::cuda::few_hopper;
using kernels::cuda::Resident;

// What an H100 of 132 multiprocessors runs at once, and a part of one whose
// clusters have two blocks at most.
constexpr Resident kH100 = {
    {0, 132, 66, 39, 30, 22, 17, 15, 15, 7, 7, 7, 7, 7, 7, 7, 7}};
constexpr Resident kPairs = {{0, 16, 8}};

// With the shared memory that kernels of nvfp4 and int4 take: barriers, and in
// a stage scales of 16 bytes a row and window.
PlanSizes sizes(std::int64_t features, std::int64_t cols, int tokens,
                std::int64_t token_tiles = 1) {
  return {(features + kFeatures - 1) / kFeatures,
          token_tiles,
          (cols + kWindow - 1) / kWindow,
          4 * tokens,
          232448,
          1023 + 8 * 2 * (kWarpgroups + kMostStages),
          512 * tokens,
          16384 + kPair * kFeatures * 16};
}

// Of mxfp4: scales of 8 bytes, windows of 8-bit tokens with their factors.
PlanSizes mxfp4_sizes(std::int64_t features, std::int64_t cols, int tokens) {
  PlanSizes p = sizes(features, cols, tokens);
  p.stage_bytes -= kPair * kFeatures * 8;
  p.window_bytes = (256 + 8 * 4) * tokens;
  return p;
}

// Every window of every tile is some warpgroup's, once; no block holds more
// than it has room for; the ring has a stage for every warpgroup, and no more
// clusters are launched than run at once.
void check_coverage(const PlanSizes& p, const Resident& resident) {
  const Plan plan = choose_plan(p, resident);
  ASSERT_GT(plan.blocks, 0);
  ASSERT_LE(
      plan.clusters * p.token_tiles,
      std::max<std::int64_t>(resident.clusters[plan.blocks], p.token_tiles));
  ASSERT_GE(plan.stages, kWarpgroups);
  ASSERT_LE(plan.stages, kMostStages);
  ASSERT_LE(p.fixed_bytes + plan.windows.most() * p.window_bytes +
                plan.stages * p.stage_bytes +
                kWarpgroups * plan.group_quads() * kQuadBytes,
            p.room);
  ASSERT_GE(plan.share * plan.blocks, p.warp_quads);
  std::vector<int> taken(static_cast<std::size_t>(p.tiles * p.windows));
  for (int cluster = 0; cluster < plan.clusters; ++cluster) {
    for (int rank = 0; rank < plan.blocks; ++rank) {
      ASSERT_GT(plan.windows.count(rank), 0);
      for (int i = 0; i < plan.tiles.count(cluster); ++i) {
        const std::int64_t tile = plan.tiles.first(cluster) + i;
        for (int w = 0; w < plan.windows.count(rank); ++w) {
          ++taken[static_cast<std::size_t>(tile * p.windows +
                                           plan.windows.first(rank) + w)];
        }
      }
    }
  }
  for (const int times : taken) ASSERT_EQ(times, 1);
}

TEST(FewHopperPlan, EveryWindowOfEveryTileIsTakenOnce) {
  for (const int tokens : {8, 16, 32}) {
    for (const std::int64_t features :
         {1, 64, 65, 1000, 4096, 5120, 8192, 24576, 57344}) {
      for (const std::int64_t cols :
           {256, 512, 1280, 4096, 5120, 12288, 17408, 28672}) {
        SCOPED_TRACE(::testing::Message()
                     << tokens << " x " << features << " x " << cols);
        ASSERT_NO_FATAL_FAILURE(
            check_coverage(sizes(features, cols, tokens), kH100));
        ASSERT_NO_FATAL_FAILURE(
            check_coverage(mxfp4_sizes(features, cols, tokens), kH100));
        if (cols <= 2048) {
          ASSERT_NO_FATAL_FAILURE(
              check_coverage(sizes(features, cols, tokens), kPairs));
        }
      }
    }
  }
  // More tiles of tokens than clusters.
  ASSERT_NO_FATAL_FAILURE(check_coverage(sizes(700, 4096, 32, 200), kH100));
}

TEST(FewHopperPlan, IsNoneWhereTheColumnsAreTooMany) {
  EXPECT_GT(choose_plan(sizes(64, 144 * 256, 32), kH100).blocks, 0);
  EXPECT_EQ(choose_plan(sizes(64, 145 * 256, 32), kH100).blocks, 0);
  EXPECT_GT(choose_plan(mxfp4_sizes(64, 256 * 256, 32), kH100).blocks, 0);
  EXPECT_EQ(choose_plan(mxfp4_sizes(64, 257 * 256, 32), kH100).blocks, 0);
  EXPECT_EQ(choose_plan(sizes(64, 40 * 256, 32), kPairs).blocks, 0);
}

// What FewHopperIsTheSameEveryTime is to meet: a block that gets no sums, and
// many tiles.
TEST(FewHopperPlan, LeavesABlockWithoutSums) {
  const Plan plan = choose_plan(mxfp4_sizes(17408, 24832, 32), kH100);
  EXPECT_GE((plan.blocks - 1) * plan.share, 4 * 32);
  EXPECT_GE(plan.tiles.most(), 13 * kWarpgroups);
}

// The sizes of clusters that were the fastest, or within 3 % of them, on an
// H100.
TEST(FewHopperPlan, TakesTheClustersThatWereFastest) {
  struct Layer {
    std::int64_t features, cols;
    int blocks16, blocks32;
  };
  for (const auto& [features, cols, blocks16, blocks32] :
       {Layer{4096, 4096, 4, 8}, Layer{24576, 4096, 2, 2},
        Layer{4096, 12288, 5, 8}, Layer{5120, 5120, 4, 4},
        Layer{34816, 5120, 2, 4}, Layer{5120, 17408, 8, 14},
        Layer{8192, 8192, 2, 8}, Layer{57344, 8192, 4, 8},
        Layer{8192, 28672, 8, 16}}) {
    EXPECT_EQ(choose_plan(sizes(features, cols, 16), kH100).blocks, blocks16)
        << features << " x " << cols;
    EXPECT_EQ(choose_plan(sizes(features, cols, 32), kH100).blocks, blocks32)
        << features << " x " << cols;
  }
}

}  // namespace
}  // namespace wush
