// The kernels of block_transform.h, over the type of the input and over what
// becomes of the transformed values (the epilogue). An epilogue's Lane keeps
// the addresses that one lane writes to as it walks down the rows: rows g and g
// + 8 of a tile, columns 8t .. 8t + 7 of two neighbouring slabs, all of which
// it takes at once, so that chains of dependent instructions overlap. kBlocks
// is how many thread blocks a multiprocessor should hold, kMostTiles how many
// tiles of 16 rows a block should walk at most.
//
// A slab is 16 rows by 32 columns, one warp's unit of work. In both operands of
// the matrix instructions the order of k is free as long as it is the same, and
// so is the order of the output columns. It is chosen so that a fragment comes
// from shared memory in four consecutive registers, as the instruction takes it
// (put together by moves it cost 1.5 instructions a value), and so that lane
// (g, t) = (lane / 4, lane % 4) ends with columns 8t .. 8t + 7 of rows g and
// g + 8, as whole octets:
//   word i = 2s + w (step s, slots 8w + 2t, 8w + 2t + 1)
//     <-  columns 8i + 2t, 8i + 2t + 1 of 16-bit inputs, by ldmatrix
//     <-  columns 8t + 2i, 8t + 2i + 1 of float32
//   tile j, output slot c  <-  column 8 (c / 2) + 2j + c % 2
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/block_transform.h"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/octet.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

struct TransformShape {
  std::int64_t rows;
  std::int64_t cols;
  int block;
  int log2_block;
  std::int64_t matrix_stride;  // elements between blocks; 0 for a shared matrix
};

// The first column of a lane's word i of a slab.
template <class In>
__device__ constexpr int word_column(int i, int t) {
  return sizeof(In) == 4 ? 8 * t + 2 * i : 8 * i + 2 * t;
}

// A lane's fragments of a slab as bfloat16 terms whose sum is the input.
template <class In>
struct SlabTerms {
  static constexpr int kTerms = sizeof(In) == 4              ? 3
                                : std::is_same_v<In, __half> ? 2
                                                             : 1;
  unsigned a[kTerms][2][4];  // by step

  // Two neighbouring values, for register r of a step's fragment.
  __device__ void split(int step, int r, float low, float high) {
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
      const unsigned l = __float_as_uint(low), h = __float_as_uint(high);
      a[term][step][r] = __byte_perm(l, h, 0x7632);  // truncated
      low -= bfloat16_high(l);
      high -= bfloat16_high(h);
    }
  }
};

// sum += slab's terms times the transform's 32 x 32 piece, b[j] the words of
// T[column of (j, g)].
template <class In>
__device__ inline void multiply_slab(float (&sum)[4][4], const SlabTerms<In>& x,
                                     const uint4 (&b)[4]) {
#pragma unroll
  for (int term = SlabTerms<In>::kTerms - 1; term >= 0; --term) {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        multiply_accumulate(sum[j], x.a[term][s], s == 0 ? b[j].x : b[j].z,
                            s == 0 ? b[j].y : b[j].w);
      }
    }
  }
}

// Row g (half 0) or g + 8 (half 1) of a slab's result, columns 8t ...
__device__ inline void slab_octet(const float (&sum)[4][4], int half,
                                  float (&v)[8]) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    v[2 * j] = sum[j][2 * half];
    v[2 * j + 1] = sum[j][2 * half + 1];
  }
}

// Lanes of a warp in the terms above.
__device__ inline int lane_g() { return (threadIdx.x & 31) >> 2; }
__device__ inline int lane_t() { return threadIdx.x & 3; }
__device__ inline int matrix_row(int tile, int g) {
  return 8 * (g >> 1) + 2 * tile + (g & 1);
}

// A warp's slabs on their way through shared memory: every lane copies its
// octets of rows g and g + 8. The octets of 16-bit values are read by ldmatrix,
// one of each of eight rows at a time, and lie so that those are in different
// banks; float32 is read back by the lane that copied it.
template <class In>
class SlabCopies {
 public:
  static constexpr int kBytes = 16 * 32 * sizeof(In);  // of a slab

  __device__ explicit SlabCopies(const void* slabs) {
    const unsigned base = shared_address(slabs);
    to_ = base + place(lane_g(), lane_t());
    const int row = threadIdx.x & 15, side = threadIdx.x >> 4 & 1;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      from_[s] = sizeof(In) == 4
                     ? to_ + s * kChunk
                     : base + row / 8 * kHalf + place(row % 8, 2 * s + side);
    }
    // Otherwise computed anew for every tile, at half an instruction a value.
    asm volatile("" : "+r"(to_), "+r"(from_[0]), "+r"(from_[1]));
  }

  // Starts the copy of the lane's octet of row g or, for half 1, g + 8.
  __device__ void start(int slab, int half, const In* from, bool valid) const {
#pragma unroll
    for (int i = 0; i < kHalf / kChunk; ++i) {
      copy_async_16(to_ + slab * kBytes + half * kHalf + i * kChunk,
                    from + 16 / sizeof(In) * i, valid);
    }
  }

  // All lanes take part, after a barrier that follows their copies.
  __device__ void load(int slab, SlabTerms<In>& terms) const {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const unsigned place = from_[s] + slab * kBytes;
      if constexpr (sizeof(In) == 4) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float4 v = load_shared(place + half * kHalf);
          terms.split(s, half, v.x, v.y);
          terms.split(s, half + 2, v.z, v.w);
        }
      } else if constexpr (std::is_same_v<In, __half>) {
        unsigned words[4];
        load_matrices(words, place);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const float2 v =
              __half22float2(reinterpret_cast<const __half2&>(words[r]));
          terms.split(s, r, v.x, v.y);
        }
      } else {
        load_matrices(terms.a[0][s], place);
      }
    }
  }

 private:
  static constexpr int kHalf = kBytes / 2;
  static constexpr int kChunk = 16 * 32;  // 16 bytes of every lane

  // Of octet t of row g in a half, or of its first 16 bytes.
  __device__ static unsigned place(int g, int t) {
    return 16 * (4 * g + (sizeof(In) == 4 ? t : t ^ (g >> 1)));
  }

  unsigned to_, from_[2];
};

// A block's matrix in shared memory, kOctets times 16 bytes a row, on its way
// to fragments. Octets lie so that those of the eight rows that one ldmatrix
// takes together, or of the two rows that eight lanes read, are in different
// banks.
template <class In, int kOctets>
class MatrixRows {
 public:
  __device__ explicit MatrixRows(const void* memory)
      : base_(shared_address(memory)) {
    const int lane = threadIdx.x & 31;
    const int g = sizeof(In) == 4 ? lane >> 2 : lane & 7;
    const int octet = sizeof(In) == 4 ? lane & 3 : lane >> 3;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      from_[s] = base_ + place(matrix_row(0, g), 4 * s + octet);
    }
  }

  __device__ void start(int row, int octet, const __nv_bfloat16* from) const {
    copy_async_16(base_ + place(row, octet), from, true);
  }

  // The lane's words of row matrix_row(tile, g) of slab n, columns of slab k;
  // all lanes take part, after a barrier that follows the copies.
  __device__ uint4 load(int n, int k, int tile) const {
    const unsigned from =
        from_[k % 2] + k / 2 * 128 + (32 * n + 2 * tile) * kRowBytes;
    if constexpr (sizeof(In) == 4) {
      const float4 v = load_shared(from);
      return make_uint4(__float_as_uint(v.x), __float_as_uint(v.y),
                        __float_as_uint(v.z), __float_as_uint(v.w));
    } else {
      unsigned words[4];
      load_matrices(words, from);
      return make_uint4(words[0], words[1], words[2], words[3]);
    }
  }

 private:
  static constexpr int kRowBytes = 16 * kOctets;

  __device__ static unsigned place(int row, int octet) {
    return kRowBytes * row + 16 * (octet ^ (row >> 3 & 3 | (row & 1) << 2));
  }

  unsigned base_, from_[2];
};

constexpr int kTransformThreads = 256;
constexpr int kTransformWarps = kTransformThreads / 32;

// Blocks of 64 and 128, by registers.
template <class In>
inline constexpr int kBlocksAtOnce = SlabTerms<In>::kTerms == 1 ? 2 : 1;

template <class In>
inline constexpr int kRingStages = sizeof(In) == 4 ? 2 : 3;

// The first tiles of a warp, to the second-level cache: one line of 128 bytes
// for every lane of 16, or two.
template <int kTiles, class In>
__device__ inline void prefetch_tiles(const In* x, const TransformShape& shape,
                                      std::int64_t first, std::int64_t step,
                                      std::int64_t column) {
  constexpr int kLines = 64 * sizeof(In) / 128;
  const int lane = threadIdx.x & 31;
  const std::int64_t c = column + lane / 16 * (64 / kLines);
  if (lane >= 16 * kLines || c >= shape.cols) return;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
    const std::int64_t row = first + i * step + lane % 16;
    if (row < shape.rows) prefetch_line(x + row * shape.cols + c);
  }
}

// The matrices of 64 columns, to the second-level cache.
__device__ inline void prefetch_pieces(const __nv_bfloat16* matrices,
                                       const TransformShape& shape,
                                       std::int64_t column) {
  const int lane = threadIdx.x & 31;
  const auto columns =
      static_cast<int>(min(shape.cols - column, std::int64_t{64}));
  if (shape.matrix_stride == 0 || 64 * lane >= columns << shape.log2_block) {
    return;
  }
  prefetch_line(matrices + (column << shape.log2_block) + 64 * lane);
}

// A lane's words of the two slabs' matrices from `column` on, as rows hold
// them: columns 8t .. 8t + 7 of a row, which are word t of lanes 0 .. 3 for
// 16-bit inputs. For blocks of 16 the piece is block-diagonal.
__device__ inline void load_pieces(const __nv_bfloat16* __restrict__ matrices,
                                   const TransformShape& shape, int column,
                                   uint4 (&b)[2][4]) {
  // Columns fit 32 bits: a row is not that long.
  const int cols = static_cast<int>(shape.cols), mask = shape.block - 1;
#pragma unroll
  for (int slab = 0; slab < 2; ++slab) {
    const int k = column + slab * 32 + 8 * lane_t();
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int n = column + slab * 32 + matrix_row(j, lane_g());
      const int block = n >> shape.log2_block;
      b[slab][j] = make_uint4(0, 0, 0, 0);
      if (k < cols && n < cols && k >> shape.log2_block == block) {
        b[slab][j] = __ldg(reinterpret_cast<const uint4*>(
            matrices + block * shape.matrix_stride +
            (static_cast<std::int64_t>(n & mask) << shape.log2_block) +
            (k & mask)));
      }
    }
  }
}

// Word t of lanes 0 .. 3 of four neighbours: a transposition in two exchanges.
__device__ inline uint4 transpose_words(const uint4& v) {
  constexpr unsigned kAll = 0xffffffffu;
  const bool upper = (threadIdx.x & 2) != 0, odd = (threadIdx.x & 1) != 0;
  const unsigned p = __shfl_xor_sync(kAll, upper ? v.x : v.z, 2);
  const unsigned q = __shfl_xor_sync(kAll, upper ? v.y : v.w, 2);
  const uint4 u =
      upper ? make_uint4(p, q, v.z, v.w) : make_uint4(v.x, v.y, p, q);
  const unsigned r = __shfl_xor_sync(kAll, odd ? u.x : u.y, 1);
  const unsigned s = __shfl_xor_sync(kAll, odd ? u.z : u.w, 1);
  return odd ? make_uint4(r, u.y, s, u.w) : make_uint4(u.x, r, u.z, s);
}

// Starts the copies of a tile; `from` is the lane's first octet of row g, and
// `rows` of the tile's rows exist. Whole tiles need no tests.
template <bool kWhole, class In>
__device__ inline void start_tile(const SlabCopies<In>& copies, int first_slab,
                                  const In* from, const TransformShape& shape,
                                  int rows, std::int64_t column) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int slab = 0; slab < 2; ++slab) {
      const bool valid =
          kWhole || (lane_g() + 8 * half < rows &&
                     column + slab * 32 + 8 * lane_t() < shape.cols);
      copies.start(first_slab + slab, half,
                   from + half * 8 * shape.cols + slab * 32, valid);
    }
  }
}

// Blocks of 16 and 32: a warp keeps the matrices of two neighbouring slabs (64
// columns) in registers and walks down the rows, tiles of 16 at a time. The
// copies, of which only lanes of the warp know, run kStages tiles ahead.
template <class In, class Epilogue>
__global__
__launch_bounds__(kTransformThreads, Epilogue::kBlocks) void transform_rows_kernel(
    const In* __restrict__ x, const __nv_bfloat16* __restrict__ matrices,
    TransformShape shape, Epilogue epilogue) {
  constexpr int kStages = kRingStages<In>;
  extern __shared__ uint4 dynamic[];
  __shared__ typename Epilogue::Shared shared;
  allow_next_launch();
  epilogue.prepare(shared);
  const int warp = threadIdx.x >> 5;
  const std::int64_t column =
      (blockIdx.x * (blockDim.x / 32) + warp) * std::int64_t{64};
  const std::int64_t step = gridDim.y * std::int64_t{16};
  const std::int64_t first = blockIdx.y * std::int64_t{16};
  if (column >= shape.cols) return;
  prefetch_tiles<kStages>(x, shape, first, step, column);
  if (blockIdx.y == 0) prefetch_pieces(matrices, shape, column);
  wait_for_previous_launch();
  uint4 b[2][4];
  load_pieces(matrices, shape, static_cast<int>(column), b);

  // Tiles fit 32 bits: 2^31 of them would be a terabyte.
  const int tiles = static_cast<int>((shape.rows + 15) / 16);
  const int whole_tiles =
      column + 64 <= shape.cols ? static_cast<int>(shape.rows / 16) : 0;
  const int last_rows = static_cast<int>(shape.rows - 16 * (tiles - 1));
  const int tile_step = static_cast<int>(gridDim.y);
  const In* from = x + (first + lane_g()) * shape.cols + column + 8 * lane_t();
  const SlabCopies<In> copies(reinterpret_cast<const char*>(dynamic) +
                              warp * kStages * 2 * SlabCopies<In>::kBytes);
  int loading = static_cast<int>(blockIdx.y);  // tile of `from`
  const auto start = [&](int stage) {
    if (loading < whole_tiles) {
      start_tile<true>(copies, 2 * stage, from, shape, 16, column);
    } else if (loading < tiles) {
      start_tile<false>(copies, 2 * stage, from, shape,
                        loading == tiles - 1 ? last_rows : 16, column);
    }
    commit_copies();
    from += step * shape.cols;
    loading += tile_step;
  };
#pragma unroll
  for (int s = 0; s < kStages; ++s) start(s);
  // While the copies are under way.
  if (sizeof(In) == 2) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      b[i / 4][i % 4] = transpose_words(b[i / 4][i % 4]);
    }
  }
  int stage = 0;
  typename Epilogue::Lane lane(epilogue, shape, first + lane_g(), column);
  for (int tile = static_cast<int>(blockIdx.y); tile < tiles;
       tile += tile_step) {
    wait_copies<kStages - 1>();
    __syncwarp();
    SlabTerms<In> terms[2];
    copies.load(2 * stage, terms[0]);
    copies.load(2 * stage + 1, terms[1]);
    __syncwarp();
    start(stage);
    stage = stage + 1 == kStages ? 0 : stage + 1;
    float sums[2][4][4] = {};
    multiply_slab(sums[0], terms[0], b[0]);
    multiply_slab(sums[1], terms[1], b[1]);
    lane.take(epilogue, shared, shape, tile * std::int64_t{16} + lane_g(),
              tile < whole_tiles, sums);
    lane.advance(shape, step);
  }
}

// Blocks of 64 and 128: the block's matrix lies in shared memory, and each of
// the warps walks down its own rows, 16 at a time. (32, so that a piece of the
// matrix is used twice, leave room for half as many warps: up to 1.6 times
// slower.)
template <int kBlock, class In, class Epilogue>
__global__
__launch_bounds__(kTransformThreads, kBlocksAtOnce<In>) void transform_block_kernel(
    const In* __restrict__ x, const __nv_bfloat16* __restrict__ matrices,
    TransformShape shape, Epilogue epilogue) {
  constexpr int kSlabs = kBlock / 32, kOctets = kBlock / 8;
  extern __shared__ uint4 dynamic[];
  __shared__ typename Epilogue::Shared shared;
  allow_next_launch();
  epilogue.prepare(shared);
  const int g = lane_g(), t = lane_t();
  const std::int64_t column = blockIdx.x * std::int64_t{kBlock};
  const std::int64_t step = gridDim.y * kTransformWarps * std::int64_t{16};
  std::int64_t row =
      (blockIdx.y * kTransformWarps + (threadIdx.x >> 5)) * std::int64_t{16};
  const __nv_bfloat16* source = matrices + blockIdx.x * shape.matrix_stride;
#pragma unroll
  for (int c = 0; c < kBlock; c += 64) {
    prefetch_tiles<1>(x, shape, row, step, column + c);
  }
  if (blockIdx.y == 0 && 64 * threadIdx.x < kBlock * kBlock) {
    prefetch_line(source + 64 * threadIdx.x);
  }
  wait_for_previous_launch();

  const MatrixRows<In, kOctets> matrix(dynamic);
#pragma unroll
  for (int i = threadIdx.x; i < kBlock * kOctets; i += kTransformThreads) {
    matrix.start(i / kOctets, i % kOctets, source + 8 * i);
  }
  commit_copies();

  const SlabCopies<In> copies(
      reinterpret_cast<const char*>(dynamic + kBlock * kOctets) +
      (threadIdx.x >> 5) * kSlabs * SlabCopies<In>::kBytes);
  const auto start = [&](std::int64_t row) {
#pragma unroll
    for (int slab = 0; slab < kSlabs; ++slab) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t r = row + g + 8 * half;
        const bool valid = r < shape.rows;
        const std::int64_t offset =
            valid ? r * shape.cols + column + slab * 32 + 8 * t : 0;
        copies.start(slab, half, x + offset, valid);
      }
    }
    commit_copies();
  };
  start(row);
  wait_copies<1>();  // the matrix
  __syncthreads();
  for (; row < shape.rows; row += step) {
    wait_copies<0>();
    __syncwarp();
    SlabTerms<In> terms[kSlabs];
#pragma unroll
    for (int slab = 0; slab < kSlabs; ++slab) copies.load(slab, terms[slab]);
    __syncwarp();
    start(row + step);
#pragma unroll 1
    for (int pair = 0; pair < kSlabs / 2; ++pair) {
      float sums[2][4][4] = {};
#pragma unroll
      for (int side = 0; side < 2; ++side) {
#pragma unroll
        for (int k = 0; k < kSlabs; ++k) {
          uint4 b[4];
#pragma unroll
          for (int j = 0; j < 4; ++j) b[j] = matrix.load(2 * pair + side, k, j);
          multiply_slab(sums[side], terms[k], b);
        }
      }
      typename Epilogue::Lane lane_out(epilogue, shape, row + g,
                                       column + 64 * pair);
      lane_out.take(epilogue, shared, shape, row + g, row + 16 <= shape.rows,
                    sums);
    }
  }
}

struct TransformCall {
  const void* x;
  const __nv_bfloat16* matrices;
  TransformShape shape;
  int multiprocessors;
  cudaStream_t stream;
};

template <int kBlock, class In, class Epilogue>
cudaError_t launch_transform_block(const TransformCall& call,
                                   const Epilogue& epilogue) {
  constexpr int kBytes =
      kBlock * kBlock * 2 + kTransformWarps * kBlock * 16 * sizeof(In);
  const std::int64_t blocks = call.shape.cols / kBlock;
  const std::int64_t tiles = ceil_div(call.shape.rows, 16 * kTransformWarps);
  const std::int64_t each = std::min<std::int64_t>(
      ceil_div(tiles * blocks,
               std::int64_t{call.multiprocessors} * kBlocksAtOnce<In>),
      Epilogue::kMostTiles);
  const dim3 grid(static_cast<unsigned>(blocks),
                  static_cast<unsigned>(
                      std::min<std::int64_t>(ceil_div(tiles, each), 65535)));
  return launch_overlapping(transform_block_kernel<kBlock, In, Epilogue>,
                            {grid, kTransformThreads, kBytes, call.stream},
                            static_cast<const In*>(call.x), call.matrices,
                            call.shape, epilogue);
}

template <class In, class Epilogue>
cudaError_t launch_transform_rows(const TransformCall& call,
                                  const Epilogue& epilogue) {
  const std::int64_t tiles = ceil_div(call.shape.rows, 16);
  // Few rows are spread over more multiprocessors.
  int warps = kTransformWarps;
  while (warps > 1 && tiles * ceil_div(call.shape.cols, 64 * warps) <=
                          call.multiprocessors / 2) {
    warps /= 2;
  }
  const int bytes = warps * kRingStages<In> * 2 * SlabCopies<In>::kBytes;
  const std::int64_t strips = ceil_div(call.shape.cols, 64 * warps);
  const std::int64_t each = std::min<std::int64_t>(
      ceil_div(tiles * strips,
               std::int64_t{call.multiprocessors} * Epilogue::kBlocks),
      Epilogue::kMostTiles);
  const dim3 grid(static_cast<unsigned>(strips),
                  static_cast<unsigned>(
                      std::min<std::int64_t>(ceil_div(tiles, each), 65535)));
  return launch_overlapping(
      transform_rows_kernel<In, Epilogue>,
      {grid, 32 * warps, static_cast<std::size_t>(bytes), call.stream},
      static_cast<const In*>(call.x), call.matrices, call.shape, epilogue);
}

template <class In, class Epilogue>
cudaError_t launch_transform(const TransformCall& call,
                             const Epilogue& epilogue) {
  if (call.shape.block == 64) {
    return launch_transform_block<64, In>(call, epilogue);
  }
  if (call.shape.block == 128) {
    return launch_transform_block<128, In>(call, epilogue);
  }
  return launch_transform_rows<In>(call, epilogue);
}

// Refuses what no kernel here does, naming `name` and the shape.
Status check_transform(const char* name, const BlockTransform& transform,
                       std::int64_t rows, std::int64_t cols);

// The call's shape; rows and cols are not 0.
Status make_transform_call(const BlockTransform& transform, const void* x,
                           std::int64_t rows, std::int64_t cols, Stream stream,
                           TransformCall* call);

}  // namespace wush::kernels::cuda
