// How fp4_matvec.cu shares a product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/split.h"

namespace wush::kernels::cuda::matvec {

inline constexpr int kRows = 8;       // of a set
inline constexpr int kWindow = 1024;  // columns of a warp at a time, 32 a lane
inline constexpr int kWarps = 16;     // of a multiprocessor
inline constexpr int kMostSets = 1024;  // of a block

// Blocks take a range of the sets each, their warps ranges of the windows of
// those sets, which count through: window w of set s is s * windows + w.
struct Plan {
  int blocks;
  int log2_warps;  // of a block
  int windows;     // of a set
  int slots;       // warps that may share a set
  Split sets;      // of the blocks
  Divisor by_windows;

  constexpr int warps() const { return 1 << log2_warps; }
};

// What a block takes.
struct Share {
  std::int64_t first;  // set
  int sets;
  int windows;  // of all sets
  int log2_warps;

  constexpr Share(const Plan& plan, int block)
      : first(plan.sets.first(block)),
        sets(plan.sets.count(block)),
        windows(sets * plan.windows),
        log2_warps(plan.log2_warps) {}
  // A warp's first window; the next warp's is its end. With fewer windows than
  // warps the first warps have one each.
  constexpr int begin(int warp) const {
    return windows >> log2_warps != 0 ? windows * warp >> log2_warps
           : warp < windows           ? warp
                                      : windows;
  }
  // The first warp that has some of the windows from `window` on, of which
  // `warp` has one.
  constexpr int first_owner(int window, int warp) const {
    while (begin(warp) > window) --warp;
    return warp;
  }
};

// One or two blocks to a multiprocessor: two, one of which may end and make
// room for the next launch before the other, unless one shares more evenly.
inline Plan choose_plan(std::int64_t rows, std::int64_t cols,
                        int multiprocessors) {
  static_assert(kWarps == 16);
  const std::int64_t sets = ceil_div(rows, kRows);
  Plan best = {};
  int least_rounds = 0;
  for (const int log2_warps : {3, 4}) {
    Plan plan = {};
    plan.log2_warps = log2_warps;
    plan.windows = static_cast<int>(ceil_div(cols, kWindow));
    plan.by_windows = Divisor(plan.windows);
    plan.blocks = static_cast<int>(std::max(
        std::min<std::int64_t>(sets, kWarps / plan.warps() * multiprocessors),
        ceil_div(sets, kMostSets)));
    plan.sets = {sets, plan.blocks};
    // Every warp of every block has `least` windows or more.
    const int least = plan.sets.each * plan.windows / plan.warps();
    plan.slots = static_cast<int>(std::min<std::int64_t>(
        plan.windows,
        least == 0 ? plan.warps() : ceil_div(plan.windows - 1, least) + 1));
    const auto rounds = static_cast<int>(
        ceil_div(plan.sets.most() * plan.windows, plan.warps()));
    if (best.blocks > 0 && rounds >= least_rounds) continue;
    least_rounds = rounds;
    best = plan;
  }
  return best;
}

}  // namespace wush::kernels::cuda::matvec
