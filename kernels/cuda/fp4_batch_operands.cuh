// The weights of fp4_matmul_batch.cu: copied to shared memory in stages,
// decoded in registers.
//
// Of a stage of 256 columns lane t of four takes columns 64 t .. 64 t + 63; the
// first 32 of every lane are the first chunk, the others the second. The order
// of columns within the sum is free.
#pragma once

#include <cstdint>

#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda::batch {

inline constexpr int kWarps = 8, kThreads = kWarps * 32;
inline constexpr int kTiles = 2;          // of 64 features, of a warpgroup
inline constexpr int kRows = 2 * kTiles;  // of a lane
inline constexpr int kWarpRows = 8 * kRows;
inline constexpr int kFeatures = kWarps * kWarpRows;  // of a block

inline constexpr int kChunks = 2;  // of a stage
inline constexpr int kStageColumns = kChunks * kChunkColumns;
inline constexpr int kWeightStages = 2;

// A stage of a tile: what a block does at a time. Stages are numbered through
// all tiles, those of a tile one after the other.
struct Place {
  int tile, stage;

  __device__ void advance(int stages) {
    if (++stage == stages) {
      stage = 0;
      ++tile;
    }
  }
};

// A stage of a warp's rows, whose 16-byte pieces p lie at p ^ (row & 1): the
// lanes of rows g and g + 1 then read from different banks.
template <Family F>
struct WeightStage {
  // Of the four groups of a chunk's columns.
  static constexpr int kScaleBytes = F == Family::kPowerOfTwo ? 4 : 8;
  uint4 pieces[kWarpRows][8];
  std::uint8_t scales[kWarpRows][kChunks][kScaleBytes];
};

// The scales of a lane's columns of a stage, in one row.
template <Family F>
__device__ inline PairScales<F> read_scales(const WeightStage<F>& stage,
                                            int row) {
  const std::uint8_t* all = stage.scales[row][0];
  const int t = threadIdx.x % 4;
  if constexpr (F == Family::kPowerOfTwo) {
    return {reinterpret_cast<const std::uint16_t*>(all)[t]};
  } else {
    return {reinterpret_cast<const unsigned*>(all)[t]};
  }
}

// A warp's rows of weights. Eight lanes copy a row, 16 bytes each: bulk copies
// of so few bytes reached a third of the bandwidth. What lies outside of the
// matrix is zeros.
template <Family F>
struct Weights {
  const OperandRows<F>& w;
  int feature_tiles;

  __device__ std::int64_t first_row(const Place& place) const {
    return place.tile % feature_tiles * std::int64_t{kFeatures} +
           threadIdx.x / 32 * kWarpRows;
  }

  // Codes outside of the matrix are zeros. The scales come the same way: loaded
  // to registers a stage ahead, the compiler had every stage wait for the next
  // one's.
  __device__ void start(WeightStage<F>& to, const Place& place,
                        bool wanted) const {
    const int lane = threadIdx.x % 32;
    const std::int64_t first = first_row(place);
    const std::int64_t row = first + lane / 8;
    const int column = place.stage * kStageColumns + 32 * (lane % 8);
    const int rows =
        static_cast<int>(min((w.rows - row + 3) / 4, std::int64_t{kWarpRows}));
    const bool inside = wanted && column < w.cols;
    const std::uint8_t* from = w.codes + (row * w.cols + column) / 2;
#pragma unroll
    for (int i = 0; i < kWarpRows / 4; ++i) {
      const int r = 4 * i + lane / 8;
      copy_async_16_of_256(&to.pieces[r][(lane % 8) ^ (r & 1)], from,
                           inside && i < rows);
      from += 2 * w.cols;  // four rows
    }
    constexpr int kBytes = WeightStage<F>::kScaleBytes;
    const std::int64_t chunk =
        min(first + lane, w.rows - 1) * (w.cols / kChunkColumns) +
        place.stage * kChunks;
    const auto* scales = static_cast<const std::uint8_t*>(w.scales);
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      copy_async_small<kBytes>(to.scales[lane][c],
                               scales + (chunk + c) * kBytes,
                               wanted && is_inside(place, c));
    }
    commit_copies();
  }

  // Whether the columns of a chunk's scales are: 128 c ... of the stage.
  __device__ bool is_inside(const Place& place, int c) const {
    return place.stage * kStageColumns + c * kChunkColumns < w.cols;
  }
};

}  // namespace wush::kernels::cuda::batch
