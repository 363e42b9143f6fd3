// Packed words to bfloat16 operands of matrix instructions.
//
// In a chunk of 128 columns lane t of four takes columns 32t .. 32t + 31: one
// group of mxfp4 or int4, two of nvfp4, four words of eight codes. The order of
// columns within the sum is free, so a word's codes are paired as they fall:
// code i with code i + 4, which lie at the same bits of the word's two halves.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/family.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/quantizer_math.cuh"

namespace wush::kernels::cuda {

constexpr int kChunkColumns = 128;

// Powers of two that decoded operands lack, made up for in the result's
// constant.
template <Family F>
constexpr float kOperandScale = F == Family::kE4m3 ? 0x1p16f : 1.0f;

__device__ inline unsigned multiply_pairs(unsigned a, unsigned b) {
  const __nv_bfloat162 product =
      __hmul2(*reinterpret_cast<const __nv_bfloat162*>(&a),
              *reinterpret_cast<const __nv_bfloat162*>(&b));
  return *reinterpret_cast<const unsigned*>(&product);
}

__device__ inline unsigned subtract_pairs(unsigned a, unsigned b) {
  const __nv_bfloat162 difference =
      __hsub2(*reinterpret_cast<const __nv_bfloat162*>(&a),
              *reinterpret_cast<const __nv_bfloat162*>(&b));
  return *reinterpret_cast<const unsigned*>(&difference);
}

// (a & mask) ^ bits as one instruction, which the compiler makes two of.
__device__ inline unsigned and_xor(unsigned a, unsigned mask, unsigned bits) {
  unsigned d;
  asm("lop3.b32 %0, %1, %2, %3, 0x6a;"
      : "=r"(d)
      : "r"(a), "r"(mask), "r"(bits));
  return d;
}

// Multiplier of a group's codes, twice in a word.
template <Family F>
__device__ inline unsigned operand_multiplier(unsigned scale) {
  unsigned bits;
  if constexpr (F == Family::kPowerOfTwo) {
    bits = scale == 0 ? 0x0040u : scale << 7;  // 2^(scale - 127)
  } else if constexpr (F == Family::kE4m3) {
    // The bits of e4m3 at the top of a float's significand and exponent are the
    // scale times 2^-120.
    const float s = __uint_as_float((scale & 0x7fu) << 20) * 0x1p120f;
    bits = __float_as_uint(s * 0x1p110f) >> 16;
  } else {
    bits = scale;
  }
  return bits | bits << 16;
}

// mxfp4 in one multiplication instead of two: a factor that takes the 2^126 of
// the code's place and the scale together, and lacks 2^kNarrowShift so that
// bfloat16 can hold it. For scales from 2^-39 to 2^21, products of two such
// operands are normal float32 numbers.
inline constexpr int kNarrowShift = 20;
inline constexpr unsigned kNarrowFirst = 88, kNarrowLast = 148;
__device__ inline bool is_narrow(unsigned scale) {
  return scale - kNarrowFirst <= kNarrowLast - kNarrowFirst;
}
__device__ inline unsigned narrow_multiplier(unsigned scale) {
  return (scale + 126 - kNarrowShift) * 0x00800080u;  // twice, from bit 7 on
}

// out[i] holds code i (low half) and code i + 4 of the word, decoded but for
// the unit and kOperandScale. kNarrow: the multiplier is a narrow_multiplier.
template <Family F, bool kNarrow = false>
__device__ inline void expand_word(unsigned w, unsigned multiplier,
                                   unsigned (&out)[4]) {
  if constexpr (F == Family::kStep) {
    // The nibble with its top bit flipped, at bits 3 .. 6 of a bfloat16 with
    // exponent 4, is 16 + (c + 8).
    constexpr unsigned kMask = 0x00780078u, kBits = 0x41c041c0u;
    out[0] = and_xor(w << 3, kMask, kBits);
    out[1] = and_xor(w >> 1, kMask, kBits);
    out[2] = and_xor(w >> 5, kMask, kBits);
    out[3] = and_xor(w >> 9, kMask, kBits);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[i] = multiply_pairs(subtract_pairs(out[i], 0x41bc41bcu), multiplier);
    }
  } else {
    // Sign to the top, magnitude to the low exponent bits and the first
    // significand bit: the value times 2^-126, subnormal for 0.5.
    constexpr unsigned kSign = 0x80008000u, kMagnitude = 0x01c001c0u;
    out[0] = (w << 12 & kSign) | (w << 6 & kMagnitude);
    out[1] = (w << 8 & kSign) | (w << 2 & kMagnitude);
    out[2] = (w << 4 & kSign) | (w >> 2 & kMagnitude);
    out[3] = (w & kSign) | (w >> 6 & kMagnitude);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (F == Family::kPowerOfTwo && !kNarrow) {
        out[i] = multiply_pairs(out[i], 0x7e807e80u);  // 2^126
      }
      out[i] = multiply_pairs(out[i], multiplier);
    }
  }
}

// A word of tokens for weights whose multipliers take fewer instructions: nvfp4
// is times 2^87, for weights that are times 2^-119.
template <Family F>
__device__ inline void expand_token_word(unsigned word, unsigned scale,
                                         unsigned (&out)[4]) {
  if constexpr (F == Family::kE4m3) {
    const float s = __uint_as_float((scale & 0x7fu) << 20) * 0x1p120f * 0x1p87f;
    const unsigned bits = __float_as_uint(s) >> 16;
    expand_word<F>(word, 0x7e807e80u, out);  // 2^126
#pragma unroll
    for (unsigned& pair : out) pair = multiply_pairs(pair, bits | bits << 16);
  } else {
    expand_word<F>(word, operand_multiplier<F>(scale), out);
  }
}

// expand_word before its multiplications in 13 instructions: one product moves
// a nibble's sign to the top and its magnitude to where the exponent begins.
__device__ inline void expand_e2m1(unsigned w, unsigned (&out)[4]) {
  constexpr unsigned kCode = 0x81c081c0u;
  const unsigned upper = w >> 8;
  out[0] = (w & 0x000f000fu) * 0x1040u & kCode;
  out[1] = (w & 0x00f000f0u) * 0x0104u & kCode;
  out[2] = (upper & 0x000f000fu) * 0x1040u & kCode;
  out[3] = (upper & 0x00f000f0u) * 0x0104u & kCode;
}

// A word of weights. kNarrow: the multiplier is a narrow_multiplier.
template <Family F, bool kNarrow>
__device__ inline void expand_weights(unsigned w, unsigned multiplier,
                                      unsigned (&out)[4]) {
  if constexpr (F == Family::kStep) {
    expand_word<F>(w, multiplier, out);
  } else {
    expand_e2m1(w, out);
#pragma unroll
    for (unsigned& pair : out) {
      if constexpr (F == Family::kPowerOfTwo && !kNarrow) {
        pair = multiply_pairs(pair, 0x7e807e80u);  // 2^126
      }
      pair = multiply_pairs(pair, multiplier);
    }
  }
}

// Multiplier of a token's codes in one multiplication instead of two (mxfp4):
// for scales of at most 2, whose product with the 2^126 of a code's place is a
// bfloat16.
inline constexpr unsigned kPlainLast = 128;
__device__ inline unsigned plain_multiplier(unsigned scale) {
  return (scale + 126) * 0x00800080u;
}

// 32 columns of a token; the warp's lanes come together.
template <Family F>
__device__ inline void expand_token(const uint4& words, unsigned scales,
                                    unsigned (&out)[4][4]) {
  const unsigned all[4] = {words.x, words.y, words.z, words.w};
  if (F == Family::kPowerOfTwo && __all_sync(kFullWarp, scales <= kPlainLast)) {
    const unsigned multiplier = plain_multiplier(scales);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      expand_weights<F, true>(all[i], multiplier, out[i]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    expand_token_word<F>(
        all[i], i < 2 || F != Family::kE4m3 ? scales : scales >> 8, out[i]);
  }
}

// The scales of 64 columns of a row of weights, in two pieces of 32: two
// groups, four of nvfp4.
template <Family F>
struct PairScales {
  unsigned bits;

  __device__ unsigned of_piece(int piece) const {
    return F == Family::kPowerOfTwo ? bits >> (8 * piece) & 0xffu
                                    : bits >> (16 * piece) & 0xffffu;
  }

  // mxfp4.
  __device__ bool narrow() const {
    return is_narrow(of_piece(0)) && is_narrow(of_piece(1));
  }

  // Multiplier of a piece's codes, twice in a word; nvfp4: of half of them.
  // kNarrow: mxfp4's lacks 2^kNarrowShift.
  template <bool kNarrow>
  __device__ unsigned multiplier(int piece, int half) const {
    if constexpr (F == Family::kPowerOfTwo) {
      return kNarrow ? narrow_multiplier(of_piece(piece))
                     : operand_multiplier<F>(of_piece(piece));
    } else if constexpr (F == Family::kE4m3) {
      // The scale's bits in a bfloat16 are the scale times 2^-120; times 2^127.
      const unsigned at = 2 * piece + half;
      const unsigned twice =
          __byte_perm(bits & 0x7f7f7f7fu, 0, 0x4040u + 0x0101u * at);
      return multiply_pairs(twice << 4, 0x7f007f00u);
    } else {
      return __byte_perm(bits, 0, piece == 0 ? 0x1010u : 0x3232u);
    }
  }
};

// The operands of the four instructions of half a piece: rows g and g + 8 of a
// tile, whose words and scales are given.
template <Family F, bool kNarrow>
__device__ inline void expand_half(const uint4* words,
                                   const PairScales<F>* scales, int piece,
                                   int half, unsigned (&a)[4][4]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const unsigned multiplier =
        scales[r].template multiplier<kNarrow>(piece, half);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      unsigned pairs[4];
      const unsigned word = half == 0 ? (i == 0 ? words[r].x : words[r].y)
                                      : (i == 0 ? words[r].z : words[r].w);
      expand_weights<F, kNarrow>(word, multiplier, pairs);
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        a[2 * i + s][r] = pairs[2 * s];
        a[2 * i + s][2 + r] = pairs[2 * s + 1];
      }
    }
  }
}

// The packed rows of one operand.
template <Family F>
struct OperandRows {
  const std::uint8_t* codes;
  const void* scales;
  std::int64_t rows;
  std::int64_t cols;

  // Scale bits of the group that holds columns [column, column + 16).
  __device__ unsigned scale(std::int64_t row, std::int64_t column) const {
    const std::int64_t index = (row * cols + column) / group_of(F);
    if constexpr (F == Family::kStep) {
      return __ldg(static_cast<const std::uint16_t*>(scales) + index);
    } else {
      return __ldg(static_cast<const std::uint8_t*>(scales) + index);
    }
  }
};

// 32 columns of a matrix whose cols are a multiple of 32, as packed: one group
// of mxfp4 or int4, or two of nvfp4, whose scales share a word.
template <Family F>
struct PackedPiece {
  uint4 words = {0, 0, 0, 0};
  unsigned scales = 0;

  // The columns from 32 `piece` on of the matrix taken as one row.
  __device__ void load(const OperandRows<F>& m, std::int64_t piece) {
    words = __ldg(reinterpret_cast<const uint4*>(m.codes) + piece);
    if constexpr (F == Family::kPowerOfTwo) {
      scales = __ldg(static_cast<const std::uint8_t*>(m.scales) + piece);
    } else {
      scales = __ldg(static_cast<const std::uint16_t*>(m.scales) + piece);
    }
  }
};

// A lane's share of one row in a chunk: 32 columns.
template <Family F>
struct LaneWords {
  static constexpr int kScales = F == Family::kE4m3 ? 2 : 1;
  uint4 words;
  unsigned scales[kScales];

  // Zeros outside of the matrix. Rows of cols % 32 != 0 are not aligned to 16
  // bytes and may end in half of a lane's share.
  __device__ void load(const OperandRows<F>& m, std::int64_t row,
                       std::int64_t column) {
    words = make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < kScales; ++i) scales[i] = 0;
    if (row >= m.rows || column >= m.cols) return;
    const std::uint8_t* p = m.codes + (row * m.cols + column) / 2;
    if (m.cols % 32 == 0) {
      words = __ldg(reinterpret_cast<const uint4*>(p));
      if constexpr (F == Family::kE4m3) {
        const unsigned pair = __ldg(reinterpret_cast<const std::uint16_t*>(
            static_cast<const std::uint8_t*>(m.scales) +
            (row * m.cols + column) / 16));
        scales[0] = pair & 0xffu;
        scales[1] = pair >> 8;
      } else {
        scales[0] = m.scale(row, column);
      }
      return;
    }
    const uint2 low = __ldg(reinterpret_cast<const uint2*>(p));
    words.x = low.x, words.y = low.y;
    scales[0] = m.scale(row, column);
    if (column + 16 < m.cols) {
      const uint2 high = __ldg(reinterpret_cast<const uint2*>(p) + 1);
      words.z = high.x, words.w = high.y;
      scales[kScales - 1] = m.scale(row, column + 16);
    }
  }

  __device__ unsigned word(int i) const {
    return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
  }
  __device__ unsigned multiplier(int i) const {
    return operand_multiplier<F>(scales[kScales == 2 ? i / 2 : 0]);
  }
};

}  // namespace wush::kernels::cuda
