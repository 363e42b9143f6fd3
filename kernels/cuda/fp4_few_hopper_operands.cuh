// The operands of fp4_matmul_few_hopper.cu: tokens decoded to shared memory as
// matrix instructions read them, weights read from it and decoded in registers.
//
// Of a window of 256 columns lane t of four takes columns 64 t .. 64 t + 63, in
// two pieces of 32. The order of columns within the sum is free.
#pragma once

#include <cstdint>

#include "kernels/cuda/fp4_few_hopper_plan.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/hopper.cuh"

namespace wush::kernels::cuda::few_hopper {

inline constexpr int kRows = 16;   // of a warp and tile
inline constexpr int kPieces = 2;  // of a lane and window

// A window of a tile of weights.
struct WindowCodes {
  uint4 rows[kFeatures][8];  // swizzled: piece p of row r lies at p ^ (r % 8)
};
template <Family F>
struct WindowScales {
  static constexpr int kBytes = F == Family::kPowerOfTwo ? 8 : 16;
  std::uint8_t rows[kFeatures][kBytes];
};

// A window of kTokenTiles tiles of 8 tokens. For every word of a lane's pieces
// two matrix instructions, for each of them and every tile two pieces of eight
// tokens by 16 bytes.
template <int kTokenTiles>
using TokenWindow = unsigned[kPieces][4][2][kTokenTiles][2][32];

// Decodes the windows of the tokens from `first` on, zeros beyond the matrix;
// all threads of kWarps warps together. `begun` is called when the first loads
// are under way. False if narrow weights could make the thread's products too
// small (mxfp4).
template <Family F, int kTokenTiles, class Function>
__device__ inline bool decode_tokens(TokenWindow<kTokenTiles>* to,
                                     const OperandRows<F>& x,
                                     std::int64_t token, int first, int windows,
                                     const Function& begun) {
  constexpr int kAhead = 8;  // pieces of 32 columns of eight tokens, of a warp
  const int lane = threadIdx.x % 32;
  const int groups = static_cast<int>(x.cols / 32);
  const int pieces = windows * kPieces * kTokenTiles;
  const auto piece_of = [](int i) { return i / kTokenTiles % kPieces; };
  const auto window_of = [](int i) { return i / (kTokenTiles * kPieces); };
  bool narrow = true;
  for (int start = threadIdx.x / 32, round = 0; start < pieces || round == 0;
       start += kAhead * kWarps, ++round) {
    PackedPiece<F> packed[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int i = start + j * kWarps;
      const std::int64_t row = token + i % kTokenTiles * 8 + lane / 4;
      const int column = (first + window_of(i)) * (kWindow / 32) +
                         kPieces * (lane % 4) + piece_of(i);
      if (i < pieces && row < x.rows && column < groups) {
        packed[j].load(x, row * groups + column);
      }
    }
    if (round == 0) begun();
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int i = start + j * kWarps;
      if (i >= pieces) break;
      unsigned out[4][4];
      const uint4& words = packed[j].words;
      const unsigned scales = packed[j].scales;
      expand_token<F>(words, scales, out);
      auto& piece = to[window_of(i)][piece_of(i)];
#pragma unroll
      for (int word = 0; word < 4; ++word) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          piece[word][k / 2][i % kTokenTiles][k % 2][lane] = out[word][k];
        }
      }
      const unsigned magnitudes =
          (words.x | words.y | words.z | words.w) & 0x77777777u;
      narrow &= scales >= kNarrowFirst || magnitudes == 0;
    }
  }
  return narrow;
}

// A window of a tile of weights, as a lane holds it: rows g and g + 8.
template <Family F>
struct LaneWeights {
  uint4 words[kPieces][2];
  PairScales<F> scales[2];

  __device__ void read(const WindowCodes& codes, const WindowScales<F>& from) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int first = threadIdx.x % 128 / 32 * kRows + g;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        words[p][r] = codes.rows[first + 8 * r][(2 * t + p) ^ g];
      }
      const std::uint8_t* row = from.rows[first + 8 * r];
      if constexpr (F == Family::kPowerOfTwo) {
        scales[r].bits = reinterpret_cast<const std::uint16_t*>(row)[t];
      } else {
        scales[r].bits = reinterpret_cast<const unsigned*>(row)[t];
      }
    }
  }

  // The same from global memory; `row` is the lane's first, `window` counts
  // from the matrix's first. Zeros outside of the matrix.
  __device__ void load(const OperandRows<F>& w, std::int64_t row, int window) {
    const std::int64_t first = (window * std::int64_t{4} + threadIdx.x % 4) *
                               kPieces;  // of 32 columns
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      scales[r].bits = 0;
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        PackedPiece<F> piece;
        if (row + 8 * r < w.rows && 32 * (first + p) < w.cols) {
          piece.load(w, (row + 8 * r) * (w.cols / 32) + first + p);
        }
        words[p][r] = piece.words;
        scales[r].bits |= piece.scales
                          << (p * (F == Family::kPowerOfTwo ? 8 : 16));
      }
    }
  }

  // mxfp4: bits for any_outside, which tells whether a scale is not one of the
  // 64 values up to kNarrowLast, three more than are narrow. What a byte
  // carries to the next does not matter, since it is out of the range itself.
  __device__ unsigned outside() const {
    constexpr unsigned kUp = (0xbfu - kNarrowLast) * 0x0101u;
    return ((scales[0].bits + kUp) ^ 0x8080u) |
           ((scales[1].bits + kUp) ^ 0x8080u);
  }
  __device__ static bool any_outside(unsigned bits) {
    return (bits & 0xc0c0u) != 0;
  }

  // mxfp4: whether narrow multipliers do, also for groups of zeros.
  __device__ bool narrow() const {
    bool all = true;
#pragma unroll
    for (int i = 0; i < 2 * kPieces; ++i) {
      const uint4& four = words[i % 2][i / 2];
      const unsigned scale = scales[i / 2].of_piece(i % 2);
      const unsigned magnitudes =
          (four.x | four.y | four.z | four.w) & 0x77777777u;
      all &= is_narrow(scale) || (scale < kNarrowFirst && magnitudes == 0);
    }
    return all;
  }

  // sum += the products with a window of the tokens; the four warps of a
  // warpgroup come together. `release` is called when all words have come from
  // shared memory: right behind their loads, a barrier's arrival overtook them
  // and the next copies overwrote what was still to be read.
  template <bool kNarrow, int kTokenTiles, class Function>
  __device__ void multiply(const TokenWindow<kTokenTiles>& tokens,
                           float (&sum)[4 * kTokenTiles],
                           const Function& release) const {
    // Known to be the same for all lanes, it stays in a uniform register.
    const std::uint64_t b = plain_tile_descriptor(
        __shfl_sync(kFullWarp, shared_address(&tokens), 0), 256, 128);
    constexpr int kInstruction = sizeof(tokens[0][0][0]) / 16;
    unsigned a[kPieces][4][4];
#pragma unroll
    for (int i = 0; i < 2 * kPieces; ++i) {
      const int piece = i % kPieces, half = i / kPieces;
      expand_half<F, kNarrow>(words[piece], scales, piece, half, a[piece]);
      warpgroup_fence();
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        WarpgroupMultiply<8 * kTokenTiles>::run(
            sum, a[piece][s], b + (8 * piece + 4 * half + s) * kInstruction,
            true);
      }
      warpgroup_commit();
      if (i == kPieces - 1) release();
      warpgroup_wait<1>();  // the other piece's registers are free
    }
    warpgroup_wait<0>();
  }
};

}  // namespace wush::kernels::cuda::few_hopper
