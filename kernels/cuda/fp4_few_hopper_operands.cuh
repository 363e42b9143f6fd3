// The operands of fp4_matmul_few_hopper.cu: tokens decoded to shared memory as
// matrix instructions read them, weights read from it and decoded in registers.
//
// Those of int4 are bfloat16, those of nvfp4 float16, which holds all of e2m1
// times e4m3 and is decoded in fewer logic instructions; mxfp4's have a header
// of their own. Of a window of 256 columns lane t of four takes columns 64 t ..
// 64 t + 63, in two pieces of 32. The order of columns within the sum is free.
#pragma once

#include <cstdint>

#include "kernels/cuda/fp4_e4m3.cuh"
#include "kernels/cuda/fp4_few_hopper_plan.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/warpgroup.cuh"

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

// What a block multiplies: a range of windows.
struct WindowRange {
  int first, count;
};

// What codes and scales are decoded to. Scales: of 64 columns of a row.
template <Family F>
struct Numbers;

template <>
struct Numbers<Family::kStep> {
  template <int n>
  using Multiply = WarpgroupMultiply<n>;

  struct Scales {
    PairScales<Family::kStep> pair;

    __device__ explicit Scales(unsigned bits) : pair{bits} {}
    __device__ unsigned multiplier(int piece, int half) const {
      return pair.multiplier<false>(piece, half);
    }
  };
  __device__ static void expand(unsigned w, unsigned multiplier,
                                unsigned (&out)[4]) {
    expand_weights<Family::kStep, false>(w, multiplier, out);
  }
};

template <>
struct Numbers<Family::kE4m3> {
  template <int n>
  using Multiply = WarpgroupMultiplyHalf<n>;

  struct Scales {
    __half2 pieces[2];  // of two groups each

    __device__ explicit Scales(unsigned bits) {
      const __half2 up = __float2half2_rn(64);  // what e4m3 lacks
      pieces[0] = __hmul2(lower_halves(bits), up);
      pieces[1] = __hmul2(upper_halves(bits), up);
    }
    __device__ __half2 multiplier(int piece, int half) const {
      return half == 0 ? __low2half2(pieces[piece])
                       : __high2half2(pieces[piece]);
    }
  };
  __device__ static void expand(unsigned w, __half2 multiplier,
                                unsigned (&out)[4]) {
    expand_halves(w, multiplier, out);
  }
};

// A warp's products of 16 features with 8 kTokenTiles tokens. Every Operands
// has this one's members.
template <Family F, int kTokenTiles>
struct Operands {
  using N = Numbers<F>;

  // For every word of a lane's pieces two matrix instructions, for each of them
  // and every tile of eight tokens two pieces of eight tokens by 16 bytes.
  struct TokenWindow {
    unsigned words[kPieces][4][2][kTokenTiles][2][32];
  };

  // Decodes the windows of the tokens from `token` on, zeros beyond the matrix;
  // all threads of kWarps warps together. `begun` is called when the first
  // loads are under way. Whether the thread's tokens are usual ones; what that
  // means is the operands' own.
  template <class Function>
  __device__ static bool decode_tokens(TokenWindow* to, const OperandRows<F>& x,
                                       std::int64_t token,
                                       const WindowRange& windows,
                                       const Function& begun) {
    // Pieces of 32 columns of eight tokens, of a warp.
    constexpr int kAhead = 8;
    const int lane = threadIdx.x % 32;
    const int groups = static_cast<int>(x.cols / 32);
    const int pieces = windows.count * kPieces * kTokenTiles;
    const auto piece_of = [](int i) { return i / kTokenTiles % kPieces; };
    const auto window_of = [](int i) { return i / (kTokenTiles * kPieces); };
    for (int start = threadIdx.x / 32, round = 0; start < pieces || round == 0;
         start += kAhead * kWarps, ++round) {
      PackedPiece<F> packed[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        const int i = start + j * kWarps;
        const std::int64_t row = token + i % kTokenTiles * 8 + lane / 4;
        const int column = (windows.first + window_of(i)) * (kWindow / 32) +
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
        const uint4& four = packed[j].words;
        const unsigned words[4] = {four.x, four.y, four.z, four.w};
        const typename N::Scales scales(packed[j].scales);
        auto& piece = to[window_of(i)].words[piece_of(i)];
#pragma unroll
        for (int word = 0; word < 4; ++word) {
          unsigned out[4];
          N::expand(words[word], scales.multiplier(0, word / 2), out);
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            piece[word][k / 2][i % kTokenTiles][k % 2][lane] = out[k];
          }
        }
      }
    }
    return true;
  }

  float sum[4 * kTokenTiles] = {};

  // Adds the products of a window, the last of which may still be under way;
  // the four warps of a warpgroup come together. `release` is called when all
  // words have come from shared memory: right behind their loads, a barrier's
  // arrival overtook them and the next copies overwrote what was still to be
  // read.
  template <class Function>
  __device__ void add(const WindowCodes& codes, const WindowScales<F>& from,
                      const TokenWindow& tokens, const Function& release) {
    // Rows g and g + 8.
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int first = threadIdx.x % 128 / 32 * kRows + g;
    uint4 words[kPieces][2];
    typename N::Scales scales[2] = {
        N::Scales(reinterpret_cast<const unsigned*>(from.rows[first])[t]),
        N::Scales(reinterpret_cast<const unsigned*>(from.rows[first + 8])[t])};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        words[p][r] = codes.rows[first + 8 * r][(2 * t + p) ^ g];
      }
    }
    // Known to be the same for all lanes, it stays in a uniform register.
    const std::uint64_t b = plain_tile_descriptor(
        __shfl_sync(kFullWarp, shared_address(&tokens), 0), 256, 128);
    constexpr int kInstruction = sizeof(tokens.words[0][0][0]) / 16;
    unsigned a[kPieces][4][4];
#pragma unroll
    for (int i = 0; i < 2 * kPieces; ++i) {
      const int piece = i % kPieces, half = i / kPieces;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const auto multiplier = scales[r].multiplier(piece, half);
        const uint4& four = words[piece][r];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          unsigned out[4];
          N::expand(half == 0 ? (j == 0 ? four.x : four.y)
                              : (j == 0 ? four.z : four.w),
                    multiplier, out);
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            a[piece][2 * j + k / 2][k % 2 * 2 + r] = out[k];
          }
        }
      }
      warpgroup_fence();
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        N::template Multiply<8 * kTokenTiles>::run(
            sum, a[piece][s], b + (8 * piece + 4 * half + s) * kInstruction,
            true);
      }
      warpgroup_commit();
      if (i == kPieces - 1) release();
      warpgroup_wait<1>();  // the other piece's registers are free
    }
  }

  // Ends the sums of a tile when its last window has been added. `row` is the
  // lane's first; `usual`: whether all tokens are.
  __device__ void complete(const OperandRows<F>& /*w*/, std::int64_t /*row*/,
                           const WindowRange& /*windows*/,
                           const TokenWindow* /*tokens*/, bool /*usual*/) {
    warpgroup_wait<0>();
    warpgroup_settle(sum);
  }
};

}  // namespace wush::kernels::cuda::few_hopper
