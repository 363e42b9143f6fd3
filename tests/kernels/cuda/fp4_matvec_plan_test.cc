// How the product with one token is shared; no device needed.
#include "kernels/cuda/fp4_matvec_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace wush {
namespace {

using namespace kernels::cuda::matvec;

// Every window of every set is one warp's; the warps of a set are neighbours,
// no more than it has slots for, and find the first of them.
void check_coverage(const Plan& plan, std::int64_t all) {
  std::int64_t sets = 0;
  for (int block = 0; block < plan.blocks; ++block) {
    const Share share(plan, block);
    ASSERT_EQ(share.first, sets);
    sets += share.sets;
    ASSERT_GT(share.sets, 0);
    ASSERT_LE(share.sets, std::min(plan.sets.most(), kMostSets));
    std::vector<int> owner;
    for (int warp = 0; warp < plan.warps(); ++warp) {
      ASSERT_EQ(share.begin(warp), owner.size());
      owner.resize(static_cast<std::size_t>(share.begin(warp + 1)), warp);
    }
    ASSERT_EQ(owner.size(), share.windows);
    for (int w = 0; w < share.windows; ++w) {
      const int set = plan.by_windows.divide(w), of = owner[w];
      ASSERT_EQ(set, w / plan.windows);
      const int first = owner[set * plan.windows];
      ASSERT_EQ(share.first_owner(set * plan.windows, of), first);
      ASSERT_LT(of - first, plan.slots);
    }
  }
  ASSERT_EQ(sets, all);
}

TEST(MatvecPlan, EveryWindowOfEverySetIsTakenOnce) {
  for (const int multiprocessors : {1, 108, 132}) {
    for (const std::int64_t rows : {8, 9, 24, 130, 1003, 4096, 5120, 34816}) {
      for (const std::int64_t cols :
           {32, 1024, 1056, 4096, 5216, 17408, 65536}) {
        SCOPED_TRACE(::testing::Message()
                     << rows << " x " << cols << " on " << multiprocessors);
        ASSERT_NO_FATAL_FAILURE(
            check_coverage(choose_plan(rows, cols, multiprocessors),
                           (rows + kRows - 1) / kRows));
      }
    }
  }
}

// The layers of figure 2: the busiest warps take at most 1.4 times an even
// share (5120 x 5120: 2 windows, 1.52 on average).
TEST(MatvecPlan, SharesTheLayersOfFigure2Evenly) {
  constexpr std::int64_t kLayers[][2] = {
      {4096, 4096},  {24576, 4096}, {4096, 12288}, {5120, 5120}, {34816, 5120},
      {5120, 17408}, {8192, 8192},  {57344, 8192}, {8192, 28672}};
  for (const auto& [rows, cols] : kLayers) {
    const Plan plan = choose_plan(rows, cols, 132);
    const double even =
        static_cast<double>(rows * plan.windows) / kRows / 132 / kWarps;
    int busiest = 0;
    for (int block = 0; block < plan.blocks; ++block) {
      const Share share(plan, block);
      for (int warp = 0; warp < plan.warps(); ++warp) {
        busiest = std::max(busiest, share.begin(warp + 1) - share.begin(warp));
      }
    }
    EXPECT_LE(busiest, 1.4 * even) << rows << " x " << cols;
  }
}

}  // namespace
}  // namespace wush
