// Decodes tokens once for all blocks of a product, to where bulk copies and
// matrix instructions of sm_90a can take them as they are.
//
// The workspace holds [token tile][chunk][half][token][64 columns] in bfloat16,
// each row of 128 bytes swizzled as tile_descriptor says. A chunk is 128
// columns in the order in which lanes meet them: word w of lane t's share is
// spread over the operands as expand_word spreads it. Tokens and columns
// outside of the matrix are zeros.
#pragma once

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda {

// What lane t of four takes of a chunk.
enum class LaneShare : std::uint8_t {
  kGroup,  // columns 32 t ... of the chunk
  // Of two chunks, columns 64 t ..., the first 32 in the first chunk.
  kPair,
};

struct TokenWorkspace {
  int tile_tokens;
  std::int64_t padded_tokens;  // a multiple of tile_tokens
  std::int64_t chunks;         // kPair: even
  uint4* operand;
  // kPair, mxfp4: whether narrow weights keep the products of a token and chunk
  // normal, [token tile][chunk][token].
  std::uint8_t* narrow;
  unsigned* zeros;  // to be set to zero on the way
  int zero_count;

  std::int64_t operand_bytes() const {
    return padded_tokens * chunks * kChunkColumns * 2;
  }
  std::int64_t narrow_bytes() const { return padded_tokens * chunks; }
};

// One thread takes one word of each of the four lanes' shares of a chunk. The
// next launch may begin when the one before has ended: it may read at once
// whatever this one does not write.
template <Family F, LaneShare kShare>
__global__ __launch_bounds__(256) void expand_tokens_kernel(OperandRows<F> x,
                                                            TokenWorkspace to) {
  wait_for_previous_launch();
  allow_next_launch();
  const std::int64_t index = blockIdx.x * std::int64_t{256} + threadIdx.x;
  for (std::int64_t i = index; i < to.zero_count; i += gridDim.x * 256) {
    to.zeros[i] = 0;
  }
  const int word = static_cast<int>(index & 3);
  const std::int64_t chunk = (index >> 2) % to.chunks;
  const std::int64_t token = (index >> 2) / to.chunks;
  if (token >= to.padded_tokens) return;
  unsigned out[4][4];
  bool narrow = true;
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const std::int64_t column =
        8 * word + (kShare == LaneShare::kGroup
                        ? chunk * kChunkColumns + 32 * t
                        : (chunk & ~std::int64_t{1}) * kChunkColumns + 64 * t +
                              (chunk & 1) * 32);
    unsigned packed = 0, scale = 0;
    if (token < x.rows && column < x.cols) {
      packed = __ldg(reinterpret_cast<const unsigned*>(
          x.codes + (token * x.cols + column) / 2));
      scale = x.scale(token, column);
    }
    narrow &= scale >= kNarrowFirst || (packed & 0x77777777u) == 0;
    if constexpr (kShare == LaneShare::kPair) {
      expand_token_word<F>(packed, scale, out[t]);
    } else {
      expand_word<F>(packed, operand_multiplier<F>(scale), out[t]);
    }
  }
  const std::int64_t record =
      token / to.tile_tokens * to.chunks + chunk;  // of all tokens of a tile
  const std::int64_t row =
      (2 * record + (word >> 1)) * to.tile_tokens + token % to.tile_tokens;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int piece = (4 * (word & 1) + i) ^ static_cast<int>(token & 7);
    to.operand[row * 8 + piece] =
        make_uint4(out[0][i], out[1][i], out[2][i], out[3][i]);
  }
  if constexpr (F == Family::kPowerOfTwo && kShare == LaneShare::kPair) {
    // Four neighbouring lanes hold the words of a token and chunk.
    const unsigned votes = __ballot_sync(__activemask(), narrow);
    const unsigned mine = votes >> (threadIdx.x & 28u) & 15u;
    if (word == 0) {
      to.narrow[record * to.tile_tokens + token % to.tile_tokens] =
          mine == 15u ? 1 : 0;
    }
  }
}

template <Family F, LaneShare kShare>
cudaError_t launch_expand_tokens(const OperandRows<F>& x,
                                 const TokenWorkspace& to,
                                 cudaStream_t stream) {
  const auto blocks =
      static_cast<unsigned>(ceil_div(to.padded_tokens * to.chunks * 4, 256));
  return launch_overlapping(expand_tokens_kernel<F, kShare>,
                            {dim3(blocks), 256, 0, stream}, x, to);
}

}  // namespace wush::kernels::cuda
