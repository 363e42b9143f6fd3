// The product with one token, bound by reading the weights; integer dot
// products of four codes at a time.
//
// A weight's magnitude index selects a byte of a table (prmt), eight codes in
// seven instructions and four dot products; group sums are exact integers, so
// the result is the group-exact reference but for the order in which groups are
// added.
//
// A block decodes the token once. Rows are taken in sets of eight, columns in
// windows of 1024, so that a warp reads 512 bytes of each row at a time; a
// block's warps share the windows of all its sets evenly, one after another.
// Sums of a set that several warps share are added in order.
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_matvec_plan.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda::matvec {
namespace {

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

// *dot += the products of eight codes with the token's, in the order of
// unpack_bytes. Of e2m1 codes positive and negative ones apart: what joins them
// would run where the selections do, at half the rate of the rest.
template <Family F>
__device__ inline void add_products(const Tables& tables, unsigned w,
                                    unsigned x_low, unsigned x_high, int* dot) {
  if constexpr (F == Family::kStep) {
    unsigned low, high;
    unpack_bytes<F>(tables, w, &low, &high);
    *dot = dot_bytes(low, x_low, *dot);
    *dot = dot_bytes(high, x_high, *dot);
  } else {
    const unsigned v = w ^ 0x88888888u;
    const auto plus = [&](unsigned s) {
      return select_bytes(tables.plus0, tables.plus4, s);
    };
    const auto minus = [&](unsigned s) {
      return select_bytes(tables.minus0, tables.minus4, s);
    };
    *dot = dot_bytes(plus(w), x_low, *dot);
    *dot = dot_bytes(minus(v), x_low, *dot);
    *dot = dot_bytes(plus(w >> 16), x_high, *dot);
    *dot = dot_bytes(minus(v >> 16), x_high, *dot);
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
  __host__ __device__ static std::int64_t size(std::int64_t pieces) {
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
        add_products<F>(tables, packed[k], xs[2 * k], xs[2 * k + 1],
                        &dot[k * kGroups / 4]);
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
template <Family F, int kBlockWarps>
__global__ __launch_bounds__(
    kBlockWarps * 32,
    kWarps / kBlockWarps) void matvec_kernel(OperandRows<F> w, OperandRows<F> x,
                                             MmaOutput out, Plan plan,
                                             bool settled) {
  constexpr int kThreads = kBlockWarps * 32;
  extern __shared__ uint4 dynamic[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int windows = plan.windows, slots = plan.slots;
  const Share share(plan, static_cast<int>(blockIdx.x));
  const int begin = share.begin(warp), end = share.begin(warp + 1);
  // The last rows are computed twice where rows are not a multiple of kRows.
  const auto first_row = [&](int set) {
    return min((share.first + set) * kRows, w.rows - kRows);
  };
  struct Place {
    int set, window;
  };
  const auto advance = [&](Place& at) {
    if (++at.window == windows) ++at.set, at.window = 0;
  };
  Place loading = {plan.by_windows.divide(begin), 0};
  loading.window = begin - loading.set * windows;

  allow_next_launch();
  // A few blocks bring the token to the second-level cache: all of them asking
  // for the same lines took longer.
  if (blockIdx.x < 8) prefetch_token(x);
  Strip<F> strips[2];
  const auto load = [&](Strip<F>& strip) {
    strip.load(w, first_row(loading.set), loading.window * 32 + lane);
    advance(loading);
  };
  Place at = loading;
  if (settled) {
    if (begin < end) load(strips[0]);
  } else {
    // The first window's 512 bytes of every row: a line for every lane.
    static_assert(kRows * 4 == 32);
    const std::int64_t ahead =
        loading.window * std::int64_t{kWindow} + lane % 4 * 256;
    if (begin < end && ahead < w.cols) {
      prefetch_line(w.codes +
                    ((first_row(loading.set) + lane / 4) * w.cols + ahead) / 2);
    }
  }
  wait_for_previous_launch();
  // Through the first-level cache: the multiprocessor's other block reads it.
  PackedPiece<F> packed;
  if (threadIdx.x < x.cols / 32) packed.load(x, threadIdx.x);
  if (!settled && begin < end) load(strips[0]);
  // Of set s and slot i at (s * slots + i) * kRows; zeros where fewer warps
  // share a set.
  auto* partial = reinterpret_cast<float*>(reinterpret_cast<char*>(dynamic) +
                                           Token<F>::size(windows * 32));
  for (int i = threadIdx.x; i < share.sets * slots * kRows; i += kThreads) {
    partial[i] = 0;
  }
  const Tables tables;
  const Token<F> token(dynamic, windows * 32);
  token.fill(tables, x, windows * 32, packed);
  __syncthreads();

  float sum[kRows] = {};
  int slot = begin < end ? warp - share.first_owner(at.set * windows, warp) : 0;
  const auto multiply = [&](const Strip<F>& strip, bool last) {
    strip.multiply(tables, token, at.window * 32 + lane, sum);
    const int set = at.set;
    advance(at);
    if (at.set == set && !last) return;
    const float total = add_lanes(sum);
    if (lane % 4 == 0) partial[(set * slots + slot) * kRows + lane / 4] = total;
    slot = 0;
#pragma unroll
    for (float& s : sum) s = 0;
  };
  // (nvcc 13.0 puts the loads behind the products, before the sums over lanes;
  // loads under a predicate stay where they are, but then registers spill.)
#pragma unroll 1
  for (int i = begin; i < end; i += 2) {
    if (i + 1 < end) load(strips[1]);
    multiply(strips[0], i + 1 == end);
    if (i + 1 == end) break;
    if (i + 2 < end) load(strips[0]);
    multiply(strips[1], i + 2 == end);
  }
  __syncthreads();

  for (int i = threadIdx.x; i < share.sets * kRows; i += kThreads) {
    const int set = i / kRows;
    const float* of_set = partial + set * slots * kRows + i % kRows;
    float all = of_set[0];
    for (int j = 1; j < slots; ++j) all += of_set[j * kRows];
    const std::int64_t row = first_row(set) + i % kRows;
    if (row >= (share.first + set) * kRows) out.store(0, row, w.rows, all);
  }
}

template <Family F>
cudaError_t launch(const MatmulProblem& p) {
  const Plan plan = choose_plan(p.features, p.cols, p.multiprocessors);
  const std::int64_t bytes =
      Token<F>::size(plan.windows * 32) +
      std::int64_t{plan.sets.most()} * plan.slots * kRows * 4;
  MmaOutput out = make_output<F>(p);
  // Both operands as twice (int4: once and four times) their values; nvfp4
  // scales times 2^-120 and 2^110.
  out.constant = p.constant * (F == Family::kE4m3 ? 0x1p8f : 0.25f);
  const OperandRows<F> w{p.w.codes, p.w.scales, p.features, p.cols};
  const OperandRows<F> x{p.x.codes, p.x.scales, p.tokens, p.cols};
  auto* kernel = plan.warps() == kWarps ? matvec_kernel<F, kWarps>
                                        : matvec_kernel<F, kWarps / 2>;
  return launch_overlapping(
      kernel,
      {dim3(static_cast<unsigned>(plan.blocks)), plan.warps() * 32,
       static_cast<std::size_t>(bytes), p.stream},
      w, x, out, plan, p.w.settled);
}

}  // namespace
}  // namespace wush::kernels::cuda::matvec

namespace wush::kernels::cuda {

cudaError_t launch_matvec(const MatmulProblem& problem) {
  return dispatch_family(
      problem.format, [&]<Family F>() { return matvec::launch<F>(problem); });
}

}  // namespace wush::kernels::cuda
