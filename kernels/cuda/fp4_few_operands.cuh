// The operands of fp4_matmul_few.cu: tokens decoded to shared memory, weights
// copied to it and decoded in registers.
#pragma once

#include <cstdint>

#include "kernels/cuda/fp4_few_plan.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda::few {

// kTokenTiles tiles of 8 tokens.
template <Family F, int kTokenTiles>
struct Few {
  static constexpr int kTokens = 8 * kTokenTiles;
  static constexpr int kTileSums = kFeatures * kTokens;
  // Scales of one row and chunk.
  static constexpr int kScaleBytes = F == Family::kPowerOfTwo ? 4 : 8;

  // Pairs of a warp under way beside the one in registers: as many as leave
  // room for 2048 columns of 32 tokens or 4096 of 16.
  static constexpr int kStages = kTokenTiles == 4 ? 1 : 2;

  struct Stage {
    uint4 codes[kPair][2][32];  // every lane reads back what it copied
    std::uint8_t scales[kPair][kFeatures][kScaleBytes];
  };
  // A pair of chunks of the tokens: what lane `lane` needs for the two matrix
  // instructions of a word of the weights.
  using TokenPair = uint4[kPair][4][kTokenTiles][32];  // [][word][tile][lane]
};

// Pieces of 32 columns of eight tokens, four at a time of each warp, from
// packed in global memory to decoded in shared memory. Zeros beyond the matrix.
template <Family F, int kTokenTiles>
class TokenPieces {
  using Shape = Few<F, kTokenTiles>;
  static constexpr int kAhead = 4;
  static constexpr int kOfPair = kPair * kTokenTiles;

 public:
  static constexpr int kStride = kAhead * kWarps;

  // The pieces piece, piece + kWarps, ... of the pairs from `first` on.
  __device__ void load(const OperandRows<F>& x, std::int64_t token, int first,
                       int piece) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int groups = static_cast<int>(x.cols / 32);
#pragma unroll
    for (int i = 0; i < kAhead; ++i, piece += kWarps) {
      const std::int64_t row = token + piece % kTokenTiles * 8 + g;
      const int column = (kPair * first + piece / kTokenTiles) * 4 + t;
      packed_[i] = {};
      if (row < x.rows && column < groups) {
        packed_[i].load(x, row * groups + column);
      }
    }
  }

  // What was loaded of the first `pieces`; false if narrow weights could make
  // the thread's products too small (mxfp4).
  __device__ bool store(typename Shape::TokenPair* to, int piece,
                        int pieces) const {
    bool narrow = true;
#pragma unroll
    for (int i = 0; i < kAhead; ++i, piece += kWarps) {
      if (piece >= pieces) break;
      unsigned out[4][4];
      const uint4& words = packed_[i].words;
      const unsigned scales = packed_[i].scales;
      expand_token<F>(words, scales, out);
      auto& chunk = to[piece / kOfPair][piece / kTokenTiles % kPair];
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        chunk[word][piece % kTokenTiles][threadIdx.x % 32] =
            make_uint4(out[word][0], out[word][1], out[word][2], out[word][3]);
      }
      const unsigned magnitudes =
          (words.x | words.y | words.z | words.w) & 0x77777777u;
      narrow &= scales >= kNarrowFirst || magnitudes == 0;
    }
    return narrow;
  }

 private:
  PackedPiece<F> packed_[kAhead];
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
    return narrow_multiplier(scale);
  } else {
    return operand_multiplier<F>(scale);
  }
}

// A warp's weights: of every tile that it takes, every `stride`th pair of the
// block's, from `own` on. Rows and chunks outside of the matrix are zeros.
template <Family F, int kTokenTiles>
class WeightCopies {
  using Shape = Few<F, kTokenTiles>;

 public:
  // Of `tiles` tiles, the first at `feature`, the next `features` on. The block
  // has `pairs` pairs from `first` on.
  __device__ WeightCopies(const OperandRows<F>& w, std::int64_t feature,
                          int features, int tiles, int first, int pairs,
                          int own, int stride)
      : pitch_(static_cast<int>(w.cols / kChunkColumns)),
        features_(features),
        tiles_(tiles),
        pairs_(pairs),
        pair_(own),
        own_(own),
        stride_(stride),
        rows_(
            static_cast<int>(min(w.rows - feature, std::int64_t{0x7fffffff}))),
        chunks_(pitch_ - kPair * first) {
    const int lane = threadIdx.x % 32, chunk = kPair * (first + own);
    codes_ =
        w.codes + ((feature + lane / 4) * pitch_ + chunk) * 64 + lane % 4 * 16;
    scales_ =
        static_cast<const std::uint8_t*>(w.scales) +
        ((feature + lane % kFeatures) * pitch_ + chunk + lane / kFeatures) *
            Shape::kScaleBytes;
  }

  // The next pair; nothing after the last.
  __device__ void start(typename Shape::Stage& stage) {
    if (tiles_ > 0) {
      const int lane = threadIdx.x % 32, g = lane / 4;
      const std::uint8_t* lower = codes_ + pitch_ * std::int64_t{8 * 64};
      const bool second = kPair * pair_ + 1 < chunks_;
      copy_async_16(&stage.codes[0][0][lane], codes_, g < rows_);
      copy_async_16(&stage.codes[0][1][lane], lower, g + 8 < rows_);
      copy_async_16(&stage.codes[1][0][lane], codes_ + 64, second && g < rows_);
      copy_async_16(&stage.codes[1][1][lane], lower + 64,
                    second && g + 8 < rows_);
      copy_async_small<Shape::kScaleBytes>(
          stage.scales[lane / kFeatures][lane % kFeatures], scales_,
          (second || lane < kFeatures) && lane % kFeatures < rows_);
      advance();
    }
    commit_copies();
  }

 private:
  __device__ void advance() {
    std::int64_t on = kPair * stride_;
    pair_ += stride_;
    if (pair_ >= pairs_) {
      on = features_ * std::int64_t{pitch_} - kPair * (pair_ - stride_ - own_);
      pair_ = own_;
      rows_ -= features_;
      --tiles_;
    }
    codes_ += on * 64;
    scales_ += on * Shape::kScaleBytes;
  }

  const std::uint8_t* codes_;  // of the lane
  const std::uint8_t* scales_;
  int pitch_;  // chunks of a row
  int features_, tiles_, pairs_, pair_, own_, stride_;
  int rows_, chunks_;  // of the matrix, from the tile's and block's first on
};

// A pair of a warp's tile, in registers.
template <Family F, int kTokenTiles>
struct WeightPair {
  using Shape = Few<F, kTokenTiles>;
  uint4 words[kPair][2];  // rows g and g + 8
  unsigned scales[kPair][2];

  __device__ void read(const typename Shape::Stage& stage) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < kPair * 2; ++i) {
      const int c = i / 2, r = i % 2;
      words[c][r] = stage.codes[c][r][lane];
      const std::uint8_t* row = stage.scales[c][8 * r + g];
      if constexpr (F == Family::kPowerOfTwo) {
        scales[c][r] = row[t];
      } else {
        scales[c][r] = reinterpret_cast<const std::uint16_t*>(row)[t];
      }
    }
  }

  // Whether all scales of the warp are.
  __device__ bool narrow() const {
    const unsigned upper = max(scales[0][0] - kNarrowFirst,  // wraps around
                               scales[0][1] - kNarrowFirst);
    const unsigned lower =
        max(scales[1][0] - kNarrowFirst, scales[1][1] - kNarrowFirst);
    return __all_sync(kFullWarp,
                      max(upper, lower) <= kNarrowLast - kNarrowFirst) != 0;
  }

  template <bool kNarrow>
  __device__ void multiply(const typename Shape::TokenPair& tokens,
                           float (&sum)[kTokenTiles][4]) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int c = 0; c < kPair; ++c) {
      unsigned multipliers[2];
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        uint4 b[kTokenTiles];
#pragma unroll
        for (int j = 0; j < kTokenTiles; ++j) b[j] = tokens[c][word][j][lane];
        unsigned a[2][4];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          if (word == 0 || (F == Family::kE4m3 && word == 2)) {
            multipliers[r] =
                weight_multiplier<F, kNarrow>(scales[c][r], word / 2);
          }
          const uint4& four = words[c][r];
          const unsigned w = word == 0   ? four.x
                             : word == 1 ? four.y
                             : word == 2 ? four.z
                                         : four.w;
          expand_weights<F, kNarrow>(w, multipliers[r], a[r]);
        }
        const unsigned low[4] = {a[0][0], a[1][0], a[0][1], a[1][1]};
        const unsigned high[4] = {a[0][2], a[1][2], a[0][3], a[1][3]};
#pragma unroll
        for (int j = 0; j < kTokenTiles; ++j) {
          multiply_accumulate(sum[j], low, b[j].x, b[j].y);
          multiply_accumulate(sum[j], high, b[j].z, b[j].w);
        }
      }
    }
  }
};

}  // namespace wush::kernels::cuda::few
