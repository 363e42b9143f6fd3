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
// The scales of two such windows, of which the first is an even one of the
// matrix. Where rows are 32 bytes, the halves of every other four rows are
// swapped (the 32-byte swizzle), so that eight rows lie in different banks.
template <Family F>
struct PairOfScales {
  static constexpr int kBytes = F == Family::kPowerOfTwo ? 8 : 16;  // a window
  std::uint8_t rows[kFeatures * kPair * kBytes];

  // Where those of a row and of a window of the matrix begin in `rows`.
  __device__ static int place(int row, int window) {
    const int half =
        F == Family::kPowerOfTwo ? window % 2 : (window ^ row / 4) % 2;
    return (row * kPair + half) * kBytes;
  }
};

// What a block multiplies: a range of windows.
struct WindowRange {
  int first, count;

  // How many make the stage of the ring that begins `window` behind the first:
  // two, of which the first is an even one of the matrix.
  __device__ int stage(int window) const {
    return min(kPair - ((first + window) & (kPair - 1)), count - window);
  }
};

// Loads the block's windows of tokens, from `token` on, and decodes them; all
// threads of kWarps warps together. A warp takes every kStep-th window of the
// same eight tokens, so that a lane reads one row and addresses are few: with
// single pieces everything waited 0.4 to 1 us longer for tokens, of 4 us.
//
// Packed is what a lane has of a window of eight tokens, zeros until loaded:
// of the token Packed::token(lane). Packed::Source(x, row, window, lane) says
// where that is, Packed::load(source, further) loads it from a window `further`
// on. begin() is called before anything is loaded, decode(window, tile, packed)
// for every window, counted from the block's first, and tile of eight tokens.
template <int kTokenTiles, class Packed>
__device__ inline void for_each_token_window(const auto& x, std::int64_t token,
                                             const WindowRange& windows,
                                             const auto& begin,
                                             const auto& decode) {
  constexpr int kAhead = 4, kStep = kWarps / kTokenTiles;
  static_assert(kWarps % kTokenTiles == 0);
  const int lane = threadIdx.x % 32, warp = static_cast<int>(threadIdx.x / 32);
  const int tile = warp % kTokenTiles;
  const std::int64_t row = token + 8 * tile + Packed::token(lane);
  const bool within = row < x.rows;
  int window = warp / kTokenTiles;
  // Found before the launch before has ended.
  typename Packed::Source source(x, row, windows.first + window, lane);
  begin();
  do {
    Packed packed[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (within && window + j * kStep < windows.count) {
        packed[j].load(source, j * kStep);
      }
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (window + j * kStep >= windows.count) break;
      decode(window + j * kStep, tile, packed[j]);
    }
    window += kAhead * kStep;
    source.advance(kAhead * kStep);
  } while (window < windows.count);
}

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
class Operands {
  using N = Numbers<F>;

 public:
  // For every word of a lane's pieces two matrix instructions, for each of them
  // and every tile of eight tokens two pieces of eight tokens by 16 bytes.
  struct TokenWindow {
    unsigned words[kPieces][4][2][kTokenTiles][2][32];
  };

  // Decodes the windows of the tokens from `token` on, zeros beyond the matrix;
  // all threads of kWarps warps together, `begin` as for
  // for_each_token_window. Whether the thread's tokens are usual ones; what
  // that means is the operands' own.
  __device__ static bool decode_tokens(TokenWindow* to, const OperandRows<F>& x,
                                       std::int64_t token,
                                       const WindowRange& windows,
                                       const auto& begin) {
    for_each_token_window<kTokenTiles, PackedTokens>(
        x, token, windows, begin,
        [&](int window, int tile, const PackedTokens& packed) {
          const typename N::Scales scales(packed.scales);
#pragma unroll
          for (int p = 0; p < kPieces; ++p) {
            const uint4& four = packed.words[p];
            const unsigned words[4] = {four.x, four.y, four.z, four.w};
            auto& piece = to[window].words[p];
#pragma unroll
            for (int word = 0; word < 4; ++word) {
              unsigned out[4];
              N::expand(words[word], scales.multiplier(p, word / 2), out);
#pragma unroll
              for (int k = 0; k < 4; ++k) {
                piece[word][k / 2][tile][k % 2][threadIdx.x % 32] = out[k];
              }
            }
          }
        });
    return true;
  }

  float sum[4 * kTokenTiles] = {};

  // Adds the products of a window, the last of which may still be under way;
  // the four warps of a warpgroup come together. `window` counts from the
  // matrix's first. `release` is called when all words have come from shared
  // memory: right behind their loads, a barrier's arrival overtook them and the
  // next copies overwrote what was still to be read.
  template <class Function>
  __device__ void add(const WindowCodes& codes, const PairOfScales<F>& from,
                      int window, const TokenWindow& tokens,
                      const Function& release) {
    // Rows g and g + 8.
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int first = threadIdx.x % 128 / 32 * kRows + g;
    uint4 words[kPieces][2];
    const auto scales_of = [&](int row) {
      const auto place = PairOfScales<F>::place(row, window);
      return typename N::Scales(
          reinterpret_cast<const unsigned*>(from.rows + place)[t]);
    };
    const typename N::Scales scales[2] = {scales_of(first),
                                          scales_of(first + 8)};
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

 private:
  // Lane (g, t): token g, columns 64 t .. 64 t + 63 of the window.
  struct PackedTokens {
    uint4 words[kPieces] = {};
    unsigned scales = 0;

    struct Source {
      const uint4* words;
      const unsigned* scales;

      __device__ Source(const OperandRows<F>& x, std::int64_t row, int window,
                        int lane) {
        const std::int64_t quarter =
            (row * (x.cols / kWindow) + window) * 4 + lane % 4;
        words = reinterpret_cast<const uint4*>(x.codes) + quarter * kPieces;
        scales = static_cast<const unsigned*>(x.scales) + quarter;
      }
      __device__ void advance(int windows) {
        words += windows * 4 * kPieces, scales += windows * 4;
      }
    };
    __device__ static int token(int lane) { return lane / 4; }
    __device__ void load(const Source& from, int further) {
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
        words[p] = __ldg(from.words + further * 4 * kPieces + p);
      }
      scales = __ldg(from.scales + further * 4);
    }
  };
};

}  // namespace wush::kernels::cuda::few_hopper
