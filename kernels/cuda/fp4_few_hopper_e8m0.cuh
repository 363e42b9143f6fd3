// mxfp4's operands of fp4_matmul_few_hopper.cu: 8-bit matrix instructions.
//
// Codes of e2m1 are numbers of e4m3, and an instruction takes 32 columns, which
// are a group. The sum of a group's products is a multiple of 1/4 and at most
// 1152, 13 bits, and the instructions keep 14, so it is exact (seen on an H100,
// nowhere promised; GroupSumsAreExact of the tests asks for it). It is scaled
// and added in float32, as the specification does. Codes are decoded four to a
// register instead of two: 110 logic instructions of a warp for 64 x 256
// weights instead of some 155, and these, which start every other cycle, are
// what decoding is bound by.
//
// Scales of tokens cost next to nothing: tokens are e5m2, which has room for 27
// powers of two beside e2m1. So their codes take the scale of their group
// relative to the largest of their window, and that one is applied once a
// window. Tokens with a window whose scales lie further apart are unusual, like
// weights whose scales lead out of float32's normal numbers: with such tokens
// or weights a tile is multiplied again, group by group with both scales (on an
// H100 4 to 9 times as long).
//
// What is unusual is not looked at within the loop: a branch for such tokens
// made 410 cycles of the 340 that 64 x 256 weights take with 16 tokens, and
// registers spill with 32. Beside a call, or a loop of its own, ptxas made all
// warpgroup instructions wait for each other (its C7510 and C7520).
#pragma once

#include <cstdint>

#include "kernels/cuda/fp4_e4m3.cuh"
#include "kernels/cuda/fp4_few_hopper_operands.cuh"

namespace wush::kernels::cuda::few_hopper {

inline constexpr int kGroups = kWindow / 32;

// 2^(byte - 127) for bytes down to -22.
__device__ inline float e8m0_value(int byte) {
  return __uint_as_float(byte > 0 ? static_cast<unsigned>(byte) << 23
                                  : 0x00400000u >> -byte);
}

// For every byte its top bit: whether the scale is in 64 .. 191, for which
// nothing that is multiplied by it leaves float32's normal numbers.
__device__ inline unsigned usual_scales(unsigned scales) {
  return scales ^ scales << 1;
}
__device__ inline bool is_usual(unsigned scale) {
  return (usual_scales(scale) & 0x80u) != 0;
}
__device__ inline bool all_usual(unsigned bits) {
  return (bits & 0x80808080u) == 0x80808080u;
}

// The codes of a word at even and at odd places as e5m2, 2^(up - 14) times as
// large; up to kMostUp, for which 6 has the largest exponent.
inline constexpr unsigned kMostUp = 27;
// Powers of two that their products with weights have too many, with kMostUp,
// less the 6 of expand_e4m3.
inline constexpr int kProductShift = static_cast<int>(kMostUp) - 14 - 6;
__device__ inline void expand_e5m2(unsigned w, unsigned up, unsigned& even,
                                   unsigned& odd) {
  // The bytes for magnitudes 0 .. 3 and 4 .. 7; 0.5 times 2^-14 is subnormal.
  const unsigned small =
      0x06040000u + 0x04040400u * up + (up == 0 ? 0x0200u : 0u);
  const unsigned large = 0x0e0c0a08u + 0x04040404u * up;
  const unsigned magnitudes = w & 0x77777777u;
  const unsigned first = __byte_perm(small, large, magnitudes);
  const unsigned last = __byte_perm(small, large, magnitudes >> 16);
  even = __byte_perm(first, last, 0x6420) | (w << 4 & 0x80808080u);
  odd = __byte_perm(first, last, 0x7531) | (w & 0x80808080u);
}

template <int kTokenTiles>
class Operands<Family::kPowerOfTwo, kTokenTiles> {
  static constexpr Family F = Family::kPowerOfTwo;
  static constexpr int kSums = 4 * kTokenTiles;

 public:
  // For each group an instruction: of every tile of eight tokens the codes at
  // even places, then those at odd ones, eight tokens by 16 bytes. The factors
  // are the groups' own; of usual tokens all of a window are the same.
  struct TokenWindow {
    uint4 codes[kGroups][kTokenTiles][2][8];
    float factors[kGroups][8 * kTokenTiles];
  };

  __device__ static bool decode_tokens(TokenWindow* to, const OperandRows<F>& x,
                                       std::int64_t token,
                                       const WindowRange& windows,
                                       const auto& begin) {
    bool usual = true;
    for_each_token_window<kTokenTiles, PackedTokens>(
        x, token, windows, begin,
        [&](int window, int tile, const PackedTokens& packed) {
          usual &= decode_window(to[window], tile, packed);
        });
    return usual;
  }

  float sum[kSums] = {};

  template <class Function>
  __device__ void add(const WindowCodes& codes, const PairOfScales<F>& from,
                      int window, const TokenWindow& tokens,
                      const Function& release) {
    const int lane = threadIdx.x % 32, r = lane % 8;
    const int first = threadIdx.x % 128 / 32 * kRows;
    const uint4* row = codes.rows[first + lane / 8 % 2 * 8 + r];
    const auto load = [&](int half, Words& words) {
#pragma unroll
      for (int i = 0; i < kHalf; i += 2) {
        unsigned four[4];
        load_matrices(
            four, shared_address(row + ((kHalf * half + i + lane / 16) ^ r)));
        words[i][0] = four[0], words[i][1] = four[1];
        words[i + 1][0] = four[2], words[i + 1][1] = four[3];
      }
    };
    const auto scales_of = [&](int feature) {
      const auto place = PairOfScales<F>::place(feature, window);
      return *reinterpret_cast<const uint2*>(from.rows + place);
    };
    const Scales scales = {
        {scales_of(first + lane / 4), scales_of(first + lane / 4 + 8)}};
    usual_[0] &= scales.usual_bits(0), usual_[1] &= scales.usual_bits(1);
    Sums part = {};
    for_each_group(load, tokens, release,
                   [&](int half, int i, const Sums& products) {
                     const float scale[2] = {scales.value(0, half, i),
                                             scales.value(1, half, i)};
#pragma unroll
                     for (int j = 0; j < kSums; ++j) {
                       part[j] += products[j] * scale[j / 2 % 2];
                     }
                   });
#pragma unroll
    for (int j = 0; j < kSums; j += 4) {
      const auto factors = *reinterpret_cast<const float2*>(
          &tokens.factors[0][8 * (j / 4) + lane % 4 * 2]);
      sum[j] += part[j] * factors.x, sum[j + 1] += part[j + 1] * factors.y;
      sum[j + 2] += part[j + 2] * factors.x;
      sum[j + 3] += part[j + 3] * factors.y;
    }
  }

  // Unusual scales of groups of zeros do not matter.
  __device__ void complete(const OperandRows<F>& w, std::int64_t row,
                           const WindowRange& windows,
                           const TokenWindow* tokens, bool usual_tokens) {
    const bool usual_rows = (all_usual(usual_[0]) || row >= w.rows) &&
                            (all_usual(usual_[1]) || row + 8 >= w.rows);
    if (__all_sync(kFullWarp, usual_tokens && usual_rows)) return;
    bool own = usual_tokens;
#pragma unroll 1
    for (int half = 0; half < 2 * windows.count; ++half) {
      const GlobalWeights weights(w, row, windows.first + half / 2, half % 2);
      own &= weights.usual_but_zeros();
    }
    if (__all_sync(kFullWarp, own)) return;
#pragma unroll
    for (float& s : sum) s = 0;
#pragma unroll 1
    for (int half = 0; half < 2 * windows.count; ++half) {
      const GlobalWeights weights(w, row, windows.first + half / 2, half % 2);
#pragma unroll 1
      for (int i = 0; i < kHalf; ++i) {
        add_any(weights, i, tokens[half / 2], half % 2 * kHalf + i);
      }
    }
  }

 private:
  static constexpr int kHalf = kGroups / 2;
  using Sums = float[kSums];
  using Multiply = WarpgroupMultiplyBytes<8 * kTokenTiles>;

  // What a lane (g, t) holds of rows g and g + 8: word t of the groups of half
  // a window, and the scales of a window.
  using Words = unsigned[kHalf][2];
  struct Scales {
    uint2 rows[2];

    // If it is a usual one or 0, which gives 0.
    __device__ float value(int row, int half, int i) const {
      const unsigned four = half == 0 ? rows[row].x : rows[row].y;
      return __uint_as_float((i == 3 ? four >> 1 : four << (23 - 8 * i)) &
                             0x7f800000u);
    }
    __device__ unsigned usual_bits(int row) const {
      return usual_scales(rows[row].x) & usual_scales(rows[row].y);
    }
  };

  // Half a window of weights from global memory, zeros outside of the matrix.
  // `row` is the lane's first; `window` counts from the matrix's first.
  struct GlobalWeights {
    Words words;
    unsigned scales[2];

    __device__ GlobalWeights(const OperandRows<F>& w, std::int64_t row,
                             int window, int half) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const bool within = row + 8 * r < w.rows;
        const std::int64_t first =  // group
            (row + 8 * r) * (w.cols / 32) + window * kGroups + half * kHalf;
        scales[r] =
            within ? __ldg(reinterpret_cast<const unsigned*>(
                         static_cast<const std::uint8_t*>(w.scales) + first))
                   : 0;
#pragma unroll
        for (int i = 0; i < kHalf; ++i) {
          words[i][r] = within
                            ? __ldg(reinterpret_cast<const unsigned*>(w.codes) +
                                    (first + i) * 4 + threadIdx.x % 4)
                            : 0;
        }
      }
    }
    __device__ unsigned scale(int r, int i) const {
      return scales[r] >> (8 * i) & 255u;
    }
    __device__ bool usual_but_zeros() const {
      bool all = true;
#pragma unroll
      for (int i = 0; i < 2 * kHalf; ++i) {
        all &= is_usual(scale(i % 2, i / 2)) ||
               (words[i / 2][i % 2] & 0x77777777u) == 0;
      }
      return all;
    }
  };

  unsigned usual_[2] = {~0u, ~0u};  // of rows g and g + 8

  // Lane 8 i + r: token r, groups i and i + 4 of the window, all of its scales.
  struct PackedTokens {
    uint4 words[2] = {};
    uint2 scales = {};

    struct Source {
      const uint4* words;
      const uint2* scales;

      __device__ Source(const OperandRows<F>& x, std::int64_t row, int window,
                        int lane) {
        const std::int64_t place = row * (x.cols / kWindow) + window;
        words = reinterpret_cast<const uint4*>(x.codes) + place * kGroups +
                lane / 8;
        scales = static_cast<const uint2*>(x.scales) + place;
      }
      __device__ void advance(int windows) {
        words += windows * kGroups, scales += windows;
      }
    };
    __device__ static int token(int lane) { return lane % 8; }
    __device__ void load(const Source& from, int further) {
      words[0] = __ldg(from.words + further * kGroups);
      words[1] = __ldg(from.words + further * kGroups + kHalf);
      scales = __ldg(from.scales + further);
    }
  };

  // A window of a tile's tokens, to where instructions read it. False if the
  // lane's token is unusual.
  __device__ static bool decode_window(TokenWindow& to, int tile,
                                       const PackedTokens& packed) {
    const int lane = threadIdx.x % 32, token = lane % 8, group = lane / 8;
    const unsigned own[2] = {packed.scales.x >> 8 * group & 255u,
                             packed.scales.y >> 8 * group & 255u};
    // The largest of the window's eight, by twos.
    const unsigned bytes = __vmaxu4(packed.scales.x, packed.scales.y);
    const unsigned two =
        __vmaxu2(bytes & 0x00ff00ffu, bytes >> 8 & 0x00ff00ffu);
    const unsigned most = max(two & 255u, two >> 16);
    bool both_usual = true;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint4& four = packed.words[half];
      const bool zeros =
          ((four.x | four.y | four.z | four.w) & 0x77777777u) == 0;
      const bool usual = own[half] + kMostUp >= most || zeros;
      // What is not, keeps its own scale for its factor.
      const unsigned base = usual ? most : own[half];
      const unsigned up = max(own[half] + kMostUp, base) - base;
      const unsigned words[4] = {four.x, four.y, four.z, four.w};
      unsigned even[4], odd[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) expand_e5m2(words[i], up, even[i], odd[i]);
      auto& codes = to.codes[group + kHalf * half][tile];
      codes[0][token] = make_uint4(even[0], even[1], even[2], even[3]);
      codes[1][token] = make_uint4(odd[0], odd[1], odd[2], odd[3]);
      to.factors[group + kHalf * half][8 * tile + token] =
          base == 255 ? __uint_as_float(0x7fffffffu)
                      : e8m0_value(static_cast<int>(base) - kProductShift);
      both_usual &= usual;
    }
    return both_usual;
  }

  // use(half, i, products) for the groups of every half of a window; the four
  // warps of a warpgroup come together. load(half, words); `release` as for
  // add.
  template <class Load, class Release, class Use>
  __device__ static void for_each_group(const Load& load,
                                        const TokenWindow& tokens,
                                        const Release& release,
                                        const Use& use) {
    // Known to be the same for all lanes, it stays in a uniform register.
    const std::uint64_t b = plain_tile_descriptor(
        __shfl_sync(kFullWarp, shared_address(&tokens.codes), 0), 256, 128);
    constexpr int kInstruction = sizeof(tokens.codes[0]) / 16;
    unsigned a[2][4];
    Sums products[2];
    Words words[2];
    load(0, words[0]);
    load(1, words[1]);
    const auto use_group = [&](int group) {
      warpgroup_settle(products[group % 2]);
      use(group / kHalf, group % kHalf, products[group % 2]);
    };
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const int now = group % 2;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        expand_e4m3(words[group / kHalf][group % kHalf][r], a[now][r],
                    a[now][2 + r]);
      }
      warpgroup_fence();
      Multiply::run(products[now], a[now], b + group * kInstruction);
      warpgroup_commit();
      // Words come from memory two groups at a time.
      if (group == kGroups - 2) release();
      if (group == 0) continue;
      warpgroup_wait<1>();
      use_group(group - 1);
    }
    warpgroup_wait<0>();
    use_group(kGroups - 1);
  }

  // Adds the products of a group whatever the scales are: two together may be
  // beyond a float. `group` of the window, the half's `i`th; by the warp alone.
  __device__ void add_any(const GlobalWeights& w, int i,
                          const TokenWindow& tokens, int group) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    unsigned a[4];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      unsigned word = 0;
#pragma unroll
      for (int j = 0; j < kHalf; ++j) word = i == j ? w.words[j][r] : word;
      expand_e4m3(word, a[r], a[2 + r]);
    }
#pragma unroll
    for (int j = 0; j < kTokenTiles; ++j) {
      const auto* codes =
          reinterpret_cast<const unsigned*>(tokens.codes[group][j]) + 4 * g + t;
      float products[4] = {};
      multiply_accumulate_bytes(products, a, codes[0], codes[32]);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const unsigned bits = w.scale(k / 2, i);
        // In two parts, which with the factor lead nowhere that the product of
        // all three does not.
        const int half = static_cast<int>(bits - 127) / 2;
        const float first = e8m0_value(127 + half);
        const float second = bits == 255
                                 ? __uint_as_float(0x7fffffffu)
                                 : e8m0_value(static_cast<int>(bits) - half);
        sum[4 * j + k] += products[k] * first *
                          tokens.factors[group][8 * j + 2 * t + k % 2] * second;
      }
    }
  }
};

}  // namespace wush::kernels::cuda::few_hopper
