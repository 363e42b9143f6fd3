// The product with one token, bound by reading the weights; integer dot
// products of four codes at a time.
//
// A weight's magnitude index selects a byte of a table (prmt), eight codes in
// nine instructions; group sums are exact integers, so the result is the
// group-exact reference but for the order in which groups are added. A warp
// takes eight rows and reads 512 bytes of each at a time; `split` warps share a
// row's columns and add their sums in order.
#include <algorithm>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda {
namespace {

constexpr int kRows = 8;       // of a warp
constexpr int kWindow = 1024;  // columns of a warp at a time, 32 a lane
constexpr int kMostWarps = 8;  // of a block

// Sum of the products of four unsigned and four signed bytes, and c.
__device__ inline int dot_bytes(unsigned a, unsigned b, int c) {
  int d;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

// 16 bytes that are not needed again; not moved behind what follows, so that a
// warp's loads are under way together.
__device__ inline uint4 load_once(const void* p) {
  uint4 v;
  asm volatile("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p)
               : "memory");
  return v;
}

// __byte_perm without its mask: a selector's top bit takes the sign of the byte
// in place of the byte.
__device__ inline unsigned select_bytes(unsigned a, unsigned b, unsigned s) {
  unsigned d;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(s));
  return d;
}

// Byte i of the tables: kOffset +- {0, 1, 2, 3, 4, 6, 8, 12}. Kept in
// registers: a constant would be copied to one before every use.
constexpr int kOffset = 16;
struct Tables {
  unsigned plus0, plus4, minus0, minus4;

  __device__ Tables() {
    const unsigned zero = threadIdx.z;  // which the compiler does not know
    plus0 = 0x13121110u + zero, plus4 = 0x1c181614u + zero;
    minus0 = 0x0d0e0f10u + zero, minus4 = 0x04080a0cu + zero;
  }
};

// A group's sum of products starts from the bits of 1.5 * 2^23, so that it ends
// as the bits of that float plus the sum: conversions run at a quarter of the
// rate of additions.
constexpr int kIntegerBits = 0x4b400000;
constexpr float kIntegerMagic = 12582912.0f;

// Eight codes as unsigned bytes that stand for 2 value + kOffset (e2m1, columns
// 0 .. 3 and 4 .. 7) or value + 7.5 (int4, columns 0, 2, 4, 6 and 1, 3, 5, 7).
template <Family F>
__device__ inline void unpack_bytes(const Tables& tables, unsigned w,
                                    unsigned* low, unsigned* high) {
  if constexpr (F == Family::kStep) {
    *low = (w & 0x0f0f0f0fu) ^ 0x08080808u;
    *high = (w >> 4 & 0x0f0f0f0fu) ^ 0x08080808u;
  } else {
    // A selector with its top bit set gives the sign of the byte, zero.
    const unsigned v = w ^ 0x88888888u;
    *low = select_bytes(tables.plus0, tables.plus4, w) |
           select_bytes(tables.minus0, tables.minus4, v);
    *high = select_bytes(tables.plus0, tables.plus4, w >> 16) |
            select_bytes(tables.minus0, tables.minus4, v >> 16);
  }
}

// The token in shared memory, 32 columns a piece: signed bytes, 2 value (e2m1)
// or 4 value (int4), in the order of unpack_bytes; and for each group its scale
// and what the sum of products with unsigned bytes starts from.
template <Family F>
struct Token {
  static constexpr int kGroups = 32 / group_of(F);  // of a piece
  uint4* bytes[2];  // words 0 .. 3 and 4 .. 7 of every piece
  float* scales;    // [pieces, kGroups]; nvfp4: times 2^120
  int* starts;

  __device__ Token(uint4* memory, int pieces)
      : bytes{memory, memory + pieces},
        scales(reinterpret_cast<float*>(memory + 2 * pieces)),
        starts(reinterpret_cast<int*>(scales + kGroups * pieces)) {}
  static std::int64_t size(std::int64_t pieces) {
    return pieces * (32 + 8 * kGroups);
  }

  __device__ static float decode_scale(unsigned bits) {
    if constexpr (F == Family::kPowerOfTwo) {
      return __uint_as_float(max(bits << 23, 0x00400000u));
    } else if constexpr (F == Family::kE4m3) {
      return __uint_as_float(bits << 20);  // times 2^-120
    } else {
      return __uint_as_float(bits << 16);
    }
  }

  __device__ void store(const Tables& tables, const PackedPiece<F>& from, int i,
                        bool inside) const {
    const unsigned packed[4] = {from.words.x, from.words.y, from.words.z,
                                from.words.w};
    unsigned out[8];
    int start[kGroups] = {};
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      unsigned low, high;
      unpack_bytes<F>(tables, packed[k / 2], &low, &high);
      const unsigned u = k % 2 == 0 ? low : high;
      const unsigned v = F == Family::kStep ? __vsub4(u << 2, 0x1e1e1e1eu)
                                            : __vsub4(u, kOffset * 0x01010101u);
      out[k] = inside ? v : 0;
      start[k * kGroups / 8] =
          dot_bytes(0x01010101u, out[k], start[k * kGroups / 8]);
    }
    bytes[0][i] = make_uint4(out[0], out[1], out[2], out[3]);
    bytes[1][i] = make_uint4(out[4], out[5], out[6], out[7]);
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const unsigned bits =
          kGroups == 1 ? from.scales : from.scales >> 8 * g & 0xffu;
      scales[i * kGroups + g] = F == Family::kE4m3
                                    ? decode_scale(bits) * 0x1p120f * 0x1p110f
                                    : decode_scale(bits);
      // int4: value + 7.5 are 15 / 2 too much for bytes of 4 value.
      starts[i * kGroups + g] =
          kIntegerBits +
          (F == Family::kStep ? start[g] / 2 * -15 : start[g] * -kOffset);
    }
  }

  // Zeros from the end of x on. `piece`: the thread's first one, loaded.
  __device__ void fill(const Tables& tables, const OperandRows<F>& x,
                       int pieces, PackedPiece<F> piece) const {
    const int inside = static_cast<int>(x.cols / 32);
    for (int i = threadIdx.x; i < pieces; i += blockDim.x) {
      if (i >= static_cast<int>(blockDim.x)) {
        piece = {};
        if (i < inside) piece.load(x, i);
      }
      store(tables, piece, i, i < inside);
    }
  }
};

// A lane's 32 columns of the warp's rows.
template <Family F>
struct Strip {
  static constexpr int kGroups = Token<F>::kGroups;
  uint4 words[kRows];
  unsigned scales[kRows];  // nvfp4: two

  // Columns outside of the matrix repeat its last ones; the token is zero.
  __device__ void load(const OperandRows<F>& w, std::int64_t row, int piece) {
    constexpr int kBytes = F == Family::kPowerOfTwo ? 1 : 2;
    const int pieces = static_cast<int>(w.cols / 32);
    const int place = min(piece, pieces - 1);
    const std::uint8_t* codes = w.codes + (row * pieces + place) * 16;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      words[r] = load_once(codes + r * std::int64_t{pieces} * 16);
    }
    const std::uint8_t* bits = static_cast<const std::uint8_t*>(w.scales) +
                               (row * pieces + place) * kBytes;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::uint8_t* p = bits + r * std::int64_t{pieces} * kBytes;
      if constexpr (F == Family::kPowerOfTwo) {
        scales[r] = __ldg(p);
      } else {
        scales[r] = __ldg(reinterpret_cast<const std::uint16_t*>(p));
      }
    }
  }

  // sum[r] += the products with the token's piece.
  __device__ void multiply(const Tables& tables, const Token<F>& token,
                           int piece, float (&sum)[kRows]) const {
    const uint4 low = token.bytes[0][piece], high = token.bytes[1][piece];
    const unsigned xs[8] = {low.x,  low.y,  low.z,  low.w,
                            high.x, high.y, high.z, high.w};
    float scale[kGroups];
    int start[kGroups];
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      scale[g] = token.scales[piece * kGroups + g];
      start[g] = token.starts[piece * kGroups + g];
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const unsigned packed[4] = {words[r].x, words[r].y, words[r].z,
                                  words[r].w};
      int dot[kGroups];
#pragma unroll
      for (int g = 0; g < kGroups; ++g) dot[g] = start[g];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        unsigned a, b;
        unpack_bytes<F>(tables, packed[k], &a, &b);
        int& d = dot[k * kGroups / 4];
        d = dot_bytes(a, xs[2 * k], d);
        d = dot_bytes(b, xs[2 * k + 1], d);
      }
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        const unsigned bits = kGroups == 1 ? scales[r]
                              : g == 0     ? scales[r] & 0x7fu
                                           : scales[r] >> 8 & 0x7fu;
        float both = scale[g] * Token<F>::decode_scale(bits);
        // Not infinite, since the sum of products may be zero.
        if (F != Family::kE4m3) both = fminf(both, 3.402823466e38f);
        sum[r] += (__int_as_float(dot[g]) - kIntegerMagic) * both;
      }
    }
  }
};

template <Family F>
__device__ inline void prefetch_token(const OperandRows<F>& x) {
  constexpr int kScaleBytes =
      F == Family::kPowerOfTwo ? 1 : 2;  // of 32 columns
  const auto* scales = static_cast<const std::uint8_t*>(x.scales);
  for (std::int64_t i = threadIdx.x; i * 256 < x.cols; i += blockDim.x) {
    prefetch_line(x.codes + i * 128);
    if (i % 8 == 0) prefetch_line(scales + i * 8 * kScaleBytes);
  }
}

// Sums of the warp's lanes: that of row lane / 4.
__device__ inline float add_lanes(float (&sum)[kRows]) {
#pragma unroll
  for (int half = kRows / 2, mask = 16; half > 0; half /= 2, mask /= 2) {
    const bool upper = (threadIdx.x & mask) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float kept = upper ? sum[i + half] : sum[i];
      const float sent = upper ? sum[i] : sum[i + half];
      sum[i] = kept + exchange(sent, mask);
    }
  }
  sum[0] += exchange(sum[0], 2);
  return sum[0] + exchange(sum[0], 1);
}

// Needs cols % 32 == 0 and at least kRows rows.
template <Family F>
__global__ __launch_bounds__(kMostWarps * 32,
                             3) void matvec_kernel(OperandRows<F> w,
                                                   OperandRows<F> x,
                                                   MmaOutput out, int split) {
  extern __shared__ uint4 dynamic[];
  __shared__ float partial[kMostWarps][kRows];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int windows = static_cast<int>((w.cols + kWindow - 1) / kWindow);
  const int sets = blockDim.x / 32 / split, set = warp / split;
  // The last rows are computed twice where rows are not a multiple of kRows.
  const std::int64_t wanted = (blockIdx.x * std::int64_t{sets} + set) * kRows;
  const std::int64_t first = min(wanted, w.rows - kRows);
  int window = warp % split;

  allow_next_launch();
  // A few blocks bring the token to the second-level cache: all of them asking
  // for the same lines took longer.
  if (blockIdx.x < 8) prefetch_token(x);
  // The window's 512 bytes of every row: a line for every lane.
  static_assert(kRows * 4 == 32);
  const std::int64_t ahead = window * std::int64_t{kWindow} + lane % 4 * 256;
  if (ahead < w.cols) {
    prefetch_line(w.codes + ((first + lane / 4) * w.cols + ahead) / 2);
  }
  wait_for_previous_launch();
  Strip<F> strip;
  strip.load(w, first, window * 32 + lane);
  // Through the first-level cache: the multiprocessor's other blocks read it.
  PackedPiece<F> packed;
  if (threadIdx.x < x.cols / 32) packed.load(x, threadIdx.x);
  const Tables tables;
  const Token<F> token(dynamic, windows * 32);
  token.fill(tables, x, windows * 32, packed);
  __syncthreads();

  float sum[kRows] = {};
  while (true) {
    strip.multiply(tables, token, window * 32 + lane, sum);
    window += split;
    if (window >= windows) break;
    strip.load(w, first, window * 32 + lane);
  }
  const float total = add_lanes(sum);
  if (lane % 4 == 0) partial[warp][lane / 4] = total;
  __syncthreads();
  const std::int64_t row = first + lane;
  if (warp % split == 0 && lane < kRows && row >= wanted) {
    float all = partial[warp][lane];
    for (int i = 1; i < split; ++i) all += partial[warp + i][lane];
    out.store(0, row, w.rows, all);
  }
}

// Warps that share a row's columns: what gives the busiest multiprocessor the
// least to do, counted in windows of a warp. Decoding the token costs a block
// about an eighth of a window for each window of the columns.
int choose_split(std::int64_t features, std::int64_t windows,
                 int multiprocessors) {
  int best = 1;
  std::int64_t least = 0;
  for (int split = 1; split <= std::min<std::int64_t>(windows, kMostWarps);
       ++split) {
    const int sets = kMostWarps / split;
    const std::int64_t blocks =
        ceil_div(ceil_div(features, kRows * sets), multiprocessors);
    const std::int64_t cost =
        blocks * (8 * sets * split * ceil_div(windows, split) + windows);
    if (split == 1 || cost < least) {
      best = split;
      least = cost;
    }
  }
  return best;
}

template <Family F>
cudaError_t launch(const MatmulProblem& p) {
  const std::int64_t windows = ceil_div(p.cols, kWindow);
  const std::int64_t bytes = Token<F>::size(windows * 32);
  const int split = choose_split(p.features, windows, p.multiprocessors);
  const int sets = kMostWarps / split;
  MmaOutput out = make_output<F>(p);
  // Both operands as twice (int4: once and four times) their values; nvfp4
  // scales times 2^-120 and 2^110.
  out.constant = p.constant * (F == Family::kE4m3 ? 0x1p8f : 0.25f);
  const OperandRows<F> w{p.w.codes, p.w.scales, p.features, p.cols};
  const OperandRows<F> x{p.x.codes, p.x.scales, p.tokens, p.cols};
  const dim3 grid(static_cast<unsigned>(ceil_div(p.features, kRows * sets)));
  return launch_overlapping(
      matvec_kernel<F>,
      {grid, 32 * sets * split, static_cast<std::size_t>(bytes), p.stream}, w,
      x, out, split);
}

}  // namespace

cudaError_t launch_matvec(const MatmulProblem& problem) {
  return dispatch_family(problem.format,
                         [&]<Family F>() { return launch<F>(problem); });
}

}  // namespace wush::kernels::cuda
