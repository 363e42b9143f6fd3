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

constexpr int kTransformThreads = 256;
constexpr int kTransformWarps = kTransformThreads / 32;

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

// A lane's words of the two slabs' matrices from `column` on; for blocks of 16
// the piece is block-diagonal.
template <class In>
__device__ inline void load_pieces(const __nv_bfloat16* __restrict__ matrices,
                                   const TransformShape& shape, int column,
                                   uint4 (&b)[2][4]) {
  // Columns fit 32 bits: a row is not that long.
  const int cols = static_cast<int>(shape.cols), mask = shape.block - 1;
#pragma unroll
  for (int slab = 0; slab < 2; ++slab) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int n = column + slab * 32 + matrix_row(j, lane_g());
      const int block = n >> shape.log2_block;
      const __nv_bfloat16* row =
          matrices + block * shape.matrix_stride +
          (static_cast<std::int64_t>(n & mask) << shape.log2_block);
      unsigned words[4] = {};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int k = column + slab * 32 + word_column<In>(i, lane_t());
        if (k < cols && n < cols && k >> shape.log2_block == block) {
          words[i] = __ldg(reinterpret_cast<const unsigned*>(row + (k & mask)));
        }
      }
      b[slab][j] = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
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
  allow_next_launch(shape.rows * shape.cols);
  epilogue.prepare(shared);
  const int warp = threadIdx.x >> 5;
  const std::int64_t column = (blockIdx.x * kTransformWarps + warp) * 64;
  const std::int64_t step = gridDim.y * std::int64_t{16};
  const std::int64_t first = blockIdx.y * std::int64_t{16};
  if (column >= shape.cols) return;
  prefetch_tiles<kStages>(x, shape, first, step, column);
  wait_for_previous_launch();
  uint4 b[2][4];
  load_pieces<In>(matrices, shape, static_cast<int>(column), b);

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

// A block's whole matrix, in the order in which lanes take its words.
template <int kBlock, class In>
__device__ inline void fill_matrix(uint4 (*matrix)[kBlock / 32][4][32],
                                   const __nv_bfloat16* __restrict__ source) {
  constexpr int kSlabs = kBlock / 32;
  const int lane = threadIdx.x & 31;
  for (int i = threadIdx.x / 32; i < kSlabs * kSlabs * 4;
       i += kTransformWarps) {
    const int n_slab = i / (kSlabs * 4), k_slab = i / 4 % kSlabs, j = i % 4;
    const __nv_bfloat16* row =
        source + (32 * n_slab + matrix_row(j, lane_g())) * kBlock + 32 * k_slab;
    unsigned words[4];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      words[w] = __ldg(reinterpret_cast<const unsigned*>(
          row + word_column<In>(w, lane_t())));
    }
    matrix[n_slab][k_slab][j][lane] =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
}

// Blocks of 64 and 128: the block's matrix lies in shared memory, and each of
// the warps walks down its own rows, kTiles times 16 at a time so that a piece
// of the matrix is used more than once.
template <int kBlock, class In, class Epilogue>
__global__ __launch_bounds__(kTransformThreads, 1) void transform_block_kernel(
    const In* __restrict__ x, const __nv_bfloat16* __restrict__ matrices,
    TransformShape shape, Epilogue epilogue) {
  constexpr int kSlabs = kBlock / 32;
  constexpr int kTiles = SlabTerms<In>::kTerms == 1 ? 2 : 1;
  extern __shared__ uint4 dynamic[];
  auto* matrix = reinterpret_cast<uint4(*)[kSlabs][4][32]>(dynamic);
  __shared__ typename Epilogue::Shared shared;
  allow_next_launch(shape.rows * shape.cols);
  epilogue.prepare(shared);
  wait_for_previous_launch();
  const int g = lane_g(), t = lane_t(), lane = threadIdx.x & 31;
  const std::int64_t column = blockIdx.x * std::int64_t{kBlock};

  fill_matrix<kBlock, In>(matrix, matrices + blockIdx.x * shape.matrix_stride);
  __syncthreads();

  const SlabCopies<In> copies(
      reinterpret_cast<const char*>(dynamic + kSlabs * kSlabs * 4 * 32) +
      (threadIdx.x >> 5) * kTiles * kSlabs * SlabCopies<In>::kBytes);
  const auto start = [&](std::int64_t row) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int slab = 0; slab < kSlabs; ++slab) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const std::int64_t r = row + 16 * tile + g + 8 * half;
          const bool valid = r < shape.rows;
          const std::int64_t offset =
              valid ? r * shape.cols + column + slab * 32 + 8 * t : 0;
          copies.start(tile * kSlabs + slab, half, x + offset, valid);
        }
      }
    }
    commit_copies();
  };
  constexpr std::int64_t kRows = 16 * kTiles;
  const std::int64_t step = gridDim.y * kTransformWarps * kRows;
  std::int64_t row =
      (blockIdx.y * kTransformWarps + (threadIdx.x >> 5)) * kRows;
  start(row);
  for (; row < shape.rows; row += step) {
    wait_copies<0>();
    __syncwarp();
    SlabTerms<In> terms[kTiles][kSlabs];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int slab = 0; slab < kSlabs; ++slab) {
        copies.load(tile * kSlabs + slab, terms[tile][slab]);
      }
    }
    __syncwarp();
    start(row + step);
#pragma unroll 1
    for (int pair = 0; pair < kSlabs / 2; ++pair) {
      float sums[kTiles][2][4][4] = {};
#pragma unroll
      for (int side = 0; side < 2; ++side) {
#pragma unroll
        for (int k = 0; k < kSlabs; ++k) {
          uint4 b[4];
#pragma unroll
          for (int j = 0; j < 4; ++j)
            b[j] = matrix[2 * pair + side][k][j][lane];
#pragma unroll
          for (int tile = 0; tile < kTiles; ++tile) {
            multiply_slab(sums[tile][side], terms[tile][k], b);
          }
        }
      }
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const std::int64_t r = row + 16 * tile + g;
        typename Epilogue::Lane lane_out(epilogue, shape, r,
                                         column + 64 * pair);
        lane_out.take(epilogue, shared, shape, r,
                      row + 16 * tile + 16 <= shape.rows, sums[tile]);
      }
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
  constexpr int kTiles = SlabTerms<In>::kTerms == 1 ? 2 : 1;
  constexpr int kBytes =
      kBlock * kBlock * 2 + kTransformWarps * kTiles * kBlock * 16 * sizeof(In);
  const std::int64_t blocks = call.shape.cols / kBlock;
  const std::int64_t tiles =
      ceil_div(call.shape.rows, 16 * kTiles * kTransformWarps);
  const std::int64_t each =
      ceil_div(tiles * blocks, std::int64_t{call.multiprocessors} * 2);
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
  constexpr int kBytes =
      kTransformWarps * kRingStages<In> * 2 * SlabCopies<In>::kBytes;
  const std::int64_t strips = ceil_div(call.shape.cols, 64 * kTransformWarps);
  const std::int64_t tiles = ceil_div(call.shape.rows, 16);
  const std::int64_t each = std::min<std::int64_t>(
      ceil_div(tiles * strips,
               std::int64_t{call.multiprocessors} * Epilogue::kBlocks),
      Epilogue::kMostTiles);
  const dim3 grid(static_cast<unsigned>(strips),
                  static_cast<unsigned>(
                      std::min<std::int64_t>(ceil_div(tiles, each), 65535)));
  return launch_overlapping(transform_rows_kernel<In, Epilogue>,
                            {grid, kTransformThreads, kBytes, call.stream},
                            static_cast<const In*>(call.x), call.matrices,
                            call.shape, epilogue);
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
