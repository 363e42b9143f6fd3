// The operands of fp4_matmul_few.cu: activations decoded to shared memory,
// weights copied to it and decoded in registers.
#pragma once

#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda::few {

inline constexpr int kWarps = 8, kThreads = kWarps * 32;
inline constexpr int kFeatures = 128;  // of a block
inline constexpr int kMostBlocks = 8;  // of a cluster

// kTokenTiles tiles of 8 tokens.
template <Family F, int kTokenTiles>
struct Few {
  // A warp's tiles of 16 features: with one, reading 32 tokens from shared
  // memory for every 16 features would take most of its bandwidth.
  static constexpr int kTiles = kTokenTiles == 4 ? 2 : 1;
  static constexpr int kRows = 2 * kTiles;  // of a lane, 8 rows apart
  static constexpr int kColumnWarps = 16 * kTiles * kWarps / kFeatures;
  static constexpr int kFeatureWarps = kWarps / kColumnWarps;
  // Chunks that a warp copies at once, so that 256 bytes of a row are read
  // together; 64 bytes at a time took a tenth longer.
  static constexpr int kRun = 4 / kColumnWarps;
  // Chunks of activations that are decoded at once.
  static constexpr int kSlab = kTokenTiles == 1 ? 8 : 4;
  static constexpr int kPieces = kSlab * kTokenTiles * 32 / kThreads;
  // Scales of one row and chunk.
  static constexpr int kScaleBytes = F == Family::kPowerOfTwo ? 4 : 8;

  struct Stage {
    uint4 codes[kRun][kRows][32];  // every lane reads back what it copied
    std::uint8_t scales[16 * kTiles][kRun][kScaleBytes];
  };
  using Slab = uint4[kSlab][4][kTokenTiles][32];
  struct Shared {
    Slab slab;
    Stage ring[kWarps][2];
  };
  // The sums, in place of Shared; rows of 132 so that the lanes of a warp write
  // to different banks.
  using Sums = float[kColumnWarps][8 * kTokenTiles][kFeatures + 4];
  static_assert(sizeof(Sums) <= sizeof(Shared));
};

// Activations on their way to the slab: 32 columns of a token each.
template <Family F, int kTokenTiles>
struct Pieces {
  using Shape = Few<F, kTokenTiles>;
  uint4 words[Shape::kPieces];
  unsigned scales[Shape::kPieces];  // nvfp4: two

  // From chunk `first` on, zeros from `last` on.
  __device__ void load(const OperandRows<F>& x, std::int64_t token, int first,
                       int last) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < Shape::kPieces; ++i) {
      const int place = (threadIdx.x + i * kThreads) / 32;
      const int chunk = first + place / kTokenTiles;
      const std::int64_t row = token + place % kTokenTiles * 8 + g;
      words[i] = make_uint4(0, 0, 0, 0);
      scales[i] = 0;
      if (row >= x.rows || chunk >= last) continue;
      const std::int64_t index =
          row * x.cols + chunk * std::int64_t{kChunkColumns} + 32 * t;
      words[i] = __ldg(reinterpret_cast<const uint4*>(x.codes + index / 2));
      if constexpr (F == Family::kPowerOfTwo) {
        scales[i] =
            __ldg(static_cast<const std::uint8_t*>(x.scales) + index / 32);
      } else {
        scales[i] =
            __ldg(static_cast<const std::uint16_t*>(x.scales) + index / 32);
      }
    }
  }

  // Decodes; false if narrow weights could make products too small.
  __device__ bool store(typename Shape::Slab& slab) const {
    bool narrow = true;
#pragma unroll
    for (int i = 0; i < Shape::kPieces; ++i) {
      const int place = (threadIdx.x + i * kThreads) / 32;
      const unsigned all[4] = {words[i].x, words[i].y, words[i].z, words[i].w};
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        unsigned out[4];
        expand_token_word<F>(
            all[word],
            word < 2 || F != Family::kE4m3 ? scales[i] : scales[i] >> 8, out);
        slab[place / kTokenTiles][word][place % kTokenTiles][threadIdx.x % 32] =
            make_uint4(out[0], out[1], out[2], out[3]);
      }
      const unsigned magnitudes =
          (all[0] | all[1] | all[2] | all[3]) & 0x77777777u;
      narrow &= scales[i] >= kNarrowFirst || magnitudes == 0;
    }
    return narrow;
  }
};

// Multiplier of a weight's codes, twice in a word: 3 instructions or fewer.
template <Family F, bool kNarrow>
__device__ inline unsigned weight_multiplier(unsigned scale, int half) {
  if constexpr (F == Family::kE4m3) {
    // The scale's bits in a bfloat16 are the scale times 2^-120; times 2^127.
    const unsigned bits =
        __byte_perm(scale & 0x7f7fu, 0, half == 0 ? 0x4040u : 0x4141u);
    return multiply_pairs(bits << 4, 0x7f007f00u);
  } else if constexpr (F == Family::kPowerOfTwo && kNarrow) {
    return scale * 0x00800080u + ((126u - kNarrowShift) * 0x00800080u);
  } else {
    return operand_multiplier<F>(scale);
  }
}

// A warp's weights, run by run through its ring.
template <Family F, int kTokenTiles>
struct Weights {
  using Shape = Few<F, kTokenTiles>;
  const std::uint8_t* codes[Shape::kRows];  // the lane's 16 bytes of chunk 0
  const std::uint8_t* scales;               // row `lane` of the warp
  int next, last;                           // chunk to copy next, end

  // Rows outside of the matrix repeat its last one and are not stored.
  __device__ Weights(const OperandRows<F>& w, std::int64_t feature, int first,
                     int end)
      : next(first), last(end) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
      const std::int64_t row = min(feature + 8 * r + lane / 4, w.rows - 1);
      codes[r] = w.codes + row * (w.cols / 2) + lane % 4 * 16;
    }
    const std::int64_t row =
        min(feature + lane % (16 * Shape::kTiles), w.rows - 1);
    scales = static_cast<const std::uint8_t*>(w.scales) +
             row * (w.cols / kChunkColumns) * Shape::kScaleBytes;
  }

  // The first 512 bytes of every row, to the second-level cache: a line for
  // every lane.
  __device__ void prefetch() const {
    const int t = threadIdx.x % 4;
    if (next + 2 * t >= last) return;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
      prefetch_line(codes[r] + next * std::int64_t{64} + (128 - 16) * t);
    }
  }

  __device__ void start(typename Shape::Stage& stage) {
    const int lane = threadIdx.x % 32;
    const std::int64_t offset = next * std::int64_t{64};
    const std::uint8_t* scale =
        scales + next * std::int64_t{Shape::kScaleBytes};
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
#pragma unroll
      for (int c = 0; c < Shape::kRun; ++c) {
        if (next + c < last) {
          copy_async_16(&stage.codes[c][r][lane], codes[r] + offset + 64 * c,
                        true);
        }
      }
    }
    if (Shape::kTiles == 2 || lane < 16) {
#pragma unroll
      for (int c = 0; c < Shape::kRun; ++c) {
        if (next + c < last) {
          copy_async_small<Shape::kScaleBytes>(
              stage.scales[lane % (16 * Shape::kTiles)][c],
              scale + c * Shape::kScaleBytes);
        }
      }
    }
    next += Shape::kRun * Shape::kColumnWarps;
    commit_copies();
  }
};

// One chunk of a warp, in registers.
template <Family F, int kTokenTiles>
struct WeightChunk {
  using Shape = Few<F, kTokenTiles>;
  using Sum = float[Shape::kTiles][kTokenTiles][4];
  uint4 words[Shape::kRows];
  unsigned scales[Shape::kRows];

  __device__ void read(const typename Shape::Stage& stage, int c) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
      words[r] = stage.codes[c][r][lane];
      const std::uint8_t* row = stage.scales[8 * r + g][c];
      if constexpr (F == Family::kPowerOfTwo) {
        scales[r] = row[t];
      } else {
        scales[r] = reinterpret_cast<const std::uint16_t*>(row)[t];
      }
    }
  }

  __device__ bool narrow() const {
    bool all = true;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) all &= is_narrow(scales[r]);
    return __all_sync(kFullWarp, all) != 0;
  }

  template <bool kNarrow>
  __device__ void multiply(const uint4 (&x)[4][kTokenTiles][32],
                           Sum& sum) const {
    const int lane = threadIdx.x % 32;
    unsigned multipliers[Shape::kRows];
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      uint4 b[kTokenTiles];
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) b[j] = x[word][j][lane];
      unsigned a[Shape::kRows][4];
#pragma unroll
      for (int r = 0; r < Shape::kRows; ++r) {
        if (word == 0 || (F == Family::kE4m3 && word == 2)) {
          multipliers[r] = weight_multiplier<F, kNarrow>(scales[r], word / 2);
        }
        const unsigned w = word == 0   ? words[r].x
                           : word == 1 ? words[r].y
                           : word == 2 ? words[r].z
                                       : words[r].w;
        expand_weights<F, kNarrow>(w, multipliers[r], a[r]);
      }
#pragma unroll
      for (int i = 0; i < Shape::kTiles; ++i) {
        const unsigned(&u)[4] = a[2 * i], (&l)[4] = a[2 * i + 1];
        const unsigned low[4] = {u[0], l[0], u[1], l[1]};
        const unsigned high[4] = {u[2], l[2], u[3], l[3]};
#pragma unroll
        for (int j = 0; j < kTokenTiles; ++j) {
          multiply_accumulate(sum[i][j], low, b[j].x, b[j].y);
          multiply_accumulate(sum[i][j], high, b[j].z, b[j].w);
        }
      }
    }
  }
};

}  // namespace wush::kernels::cuda::few
