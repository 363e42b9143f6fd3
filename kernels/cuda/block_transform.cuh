// The kernels of block_transform.h, over the type of the input and over what
// becomes of the transformed values (the epilogue). An epilogue's Lane keeps
// the addresses that one lane writes to as it walks down the rows: rows g and g
// + 8 of a tile, columns 8t .. 8t + 7 of two neighbouring slabs, all of which
// it takes at once, so that chains of dependent instructions overlap. kBlocks
// is how many thread blocks a multiprocessor should hold, kMostTiles how many
// tiles of 16 rows a warp should walk at most.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/block_transform.h"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/transform_operands.cuh"
#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

struct TransformShape {
  std::int64_t rows;
  std::int64_t cols;
  int block;
  int log2_block;
  std::int64_t matrix_stride;  // elements between blocks; 0 for a shared matrix
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
  const bool upper = (threadIdx.x & 2) != 0, odd = (threadIdx.x & 1) != 0;
  const unsigned p = __shfl_xor_sync(kFullWarp, upper ? v.x : v.z, 2);
  const unsigned q = __shfl_xor_sync(kFullWarp, upper ? v.y : v.w, 2);
  const uint4 u =
      upper ? make_uint4(p, q, v.z, v.w) : make_uint4(v.x, v.y, p, q);
  const unsigned r = __shfl_xor_sync(kFullWarp, odd ? u.x : u.y, 1);
  const unsigned s = __shfl_xor_sync(kFullWarp, odd ? u.z : u.w, 1);
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
