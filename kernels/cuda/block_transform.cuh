// The kernels of block_transform.h, over the type of the input and over what
// becomes of the transformed values (the epilogue). An epilogue's Lane keeps
// the addresses that one lane writes to as it walks down the rows: rows g and g
// + 8 of a tile, columns 8t .. 8t + 7 of two neighbouring slabs, which it takes
// one after the other. kBlocks is how many thread blocks a multiprocessor
// should hold, kMostTiles how many tiles of 16 rows a block should walk at
// most.
//
// A slab is 16 rows by 32 columns, one warp's unit of work. In both operands of
// the matrix instructions the order of k is free as long as it is the same, and
// so is the order of the output columns; it is chosen so that lane (g, t) =
// (lane / 4, lane % 4) loads columns 8t .. 8t + 7 of rows g and g + 8 as whole
// octets and ends with the same columns of the result:
//   step s, slots 2t, 2t + 1, 2t + 8, 2t + 9  <-  columns 8t + 4s + 0 .. 3
//   tile j, output slot c                     <-  column 8 (c / 2) + 2j + c % 2
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

// A lane's octets of a slab as bfloat16 terms whose sum is the input.
template <class In>
struct SlabTerms {
  static constexpr int kTerms = sizeof(In) == 4              ? 3
                                : std::is_same_v<In, __half> ? 2
                                                             : 1;
  unsigned upper[kTerms][4];  // row g
  unsigned lower[kTerms][4];  // row g + 8

  __device__ static void split(const Octet<In>& octet,
                               unsigned (&terms)[kTerms][4]) {
    if constexpr (kTerms == 1) {
      terms[0][0] = octet.bits.x, terms[0][1] = octet.bits.y;
      terms[0][2] = octet.bits.z, terms[0][3] = octet.bits.w;
    } else {
      float v[8];
      octet.widen(v);
#pragma unroll
      for (int term = 0; term < kTerms; ++term) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const unsigned low = __float_as_uint(v[2 * i]);
          const unsigned high = __float_as_uint(v[2 * i + 1]);
          terms[term][i] = __byte_perm(low, high, 0x7632);  // truncated
          v[2 * i] -= bfloat16_high(low);
          v[2 * i + 1] -= bfloat16_high(high);
        }
      }
    }
  }

  __device__ void set(const Octet<In>& g, const Octet<In>& g8) {
    split(g, upper);
    split(g8, lower);
  }
};

// sum += slab's terms times the transform's 32 x 32 piece, b[j] the words of
// T[column of (j, g)][8t ..].
template <class In>
__device__ inline void multiply_slab(float (&sum)[4][4], const SlabTerms<In>& x,
                                     const uint4 (&b)[4]) {
#pragma unroll
  for (int term = SlabTerms<In>::kTerms - 1; term >= 0; --term) {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const unsigned a[4] = {x.upper[term][2 * s], x.lower[term][2 * s],
                             x.upper[term][2 * s + 1],
                             x.lower[term][2 * s + 1]};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        multiply_accumulate(sum[j], a, s == 0 ? b[j].x : b[j].z,
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

template <class In>
struct OctetCopy {
  static constexpr int kChunks = sizeof(In) / 2;  // of 16 bytes
  uint4 chunk[kChunks][32];                       // by lane

  __device__ void start(const In* from, bool valid) {
#pragma unroll
    for (int i = 0; i < kChunks; ++i) {
      copy_async_16(&chunk[i][threadIdx.x & 31], from + 8 / kChunks * i, valid);
    }
  }
  __device__ Octet<In> take() const {
    Octet<In> octet;
    octet.bits = chunk[0][threadIdx.x & 31];
    if constexpr (kChunks == 2) octet.more = chunk[1][threadIdx.x & 31];
    return octet;
  }
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

// Blocks of 16 and 32: a warp keeps the matrices of two neighbouring slabs (64
// columns) in registers and walks down the rows. Every lane reads back only
// what it copied itself, so no barrier is needed; the copies run kStages tiles
// ahead. For blocks of 16 the piece is block-diagonal.
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
  const int g = lane_g(), t = lane_t(), warp = threadIdx.x >> 5;
  auto& ring = reinterpret_cast<OctetCopy<In>(*)[kStages][2][2]>(dynamic)[warp];
  const std::int64_t column = (blockIdx.x * kTransformWarps + warp) * 64;
  const std::int64_t step = gridDim.y * std::int64_t{16};
  const std::int64_t first = blockIdx.y * std::int64_t{16};
  if (column >= shape.cols) return;
  prefetch_tiles<kStages>(x, shape, first, step, column);
  wait_for_previous_launch();

  // cols and column fit 32 bits: a row is not that long.
  const int cols = static_cast<int>(shape.cols);
  uint4 b[2][4];
  bool inside[2];
#pragma unroll
  for (int slab = 0; slab < 2; ++slab) {
    const int k = static_cast<int>(column) + slab * 32 + 8 * t;
    inside[slab] = k < cols;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int n = static_cast<int>(column) + slab * 32 + matrix_row(j, g);
      const int block = n >> shape.log2_block, mask = shape.block - 1;
      b[slab][j] = make_uint4(0, 0, 0, 0);
      if (k < cols && n < cols && k >> shape.log2_block == block) {
        b[slab][j] = __ldg(reinterpret_cast<const uint4*>(
            matrices + block * shape.matrix_stride +
            ((n & mask) << shape.log2_block) + (k & mask)));
      }
    }
  }

  const In* from = x + (first + g) * shape.cols + column + 8 * t;
  const std::int64_t next_tile = step * shape.cols;
  const std::int64_t next_half = 8 * shape.cols;
  std::int64_t loading = first + g;  // row of `from`
  const auto start = [&](int stage) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bool valid = loading + 8 * half < shape.rows;
#pragma unroll
      for (int slab = 0; slab < 2; ++slab) {
        ring[stage][slab][half].start(from + half * next_half + slab * 32,
                                      valid && inside[slab]);
      }
    }
    commit_copies();
    from += next_tile;
    loading += step;
  };
#pragma unroll
  for (int s = 0; s < kStages; ++s) start(s);
  int stage = 0;
  typename Epilogue::Lane lane(epilogue, shape, first + g, column);
  for (std::int64_t row = first; row < shape.rows; row += step) {
    wait_copies<kStages - 1>();
    SlabTerms<In> terms[2];
#pragma unroll
    for (int slab = 0; slab < 2; ++slab) {
      terms[slab].set(ring[stage][slab][0].take(), ring[stage][slab][1].take());
    }
    start(stage);
    stage = stage + 1 == kStages ? 0 : stage + 1;
#pragma unroll
    for (int slab = 0; slab < 2; ++slab) {
      float sums[4][4] = {};
      multiply_slab(sums, terms[slab], b[slab]);
      lane.take(epilogue, shared, shape, row + g, slab, sums);
    }
    lane.finish(epilogue, shape, row + g);
    lane.advance(shape, step);
  }
}

// Blocks of 64 and 128: the block's matrix lies in shared memory, in the order
// in which lanes take it, and each of the warps walks down its own rows, kTiles
// times 16 at a time so that a piece of the matrix is used more than once.
template <int kBlock, class In, class Epilogue>
__global__ __launch_bounds__(kTransformThreads, 1) void transform_block_kernel(
    const In* __restrict__ x, const __nv_bfloat16* __restrict__ matrices,
    TransformShape shape, Epilogue epilogue) {
  constexpr int kSlabs = kBlock / 32;
  constexpr int kTiles = SlabTerms<In>::kTerms == 1 ? 2 : 1;
  using Copies = OctetCopy<In>[kTiles][kSlabs][2];
  extern __shared__ uint4 dynamic[];
  auto* matrix = reinterpret_cast<uint4(*)[kSlabs][4][32]>(dynamic);
  auto& copies = reinterpret_cast<Copies*>(dynamic + kSlabs * kSlabs * 4 *
                                                         32)[threadIdx.x >> 5];
  __shared__ typename Epilogue::Shared shared;
  allow_next_launch();
  epilogue.prepare(shared);
  wait_for_previous_launch();
  const int g = lane_g(), t = lane_t(), lane = threadIdx.x & 31;
  const std::int64_t column = blockIdx.x * std::int64_t{kBlock};

  const __nv_bfloat16* source = matrices + blockIdx.x * shape.matrix_stride;
  for (int i = threadIdx.x / 32; i < kSlabs * kSlabs * 4;
       i += kTransformWarps) {
    const int n_slab = i / (kSlabs * 4), k_slab = i / 4 % kSlabs, j = i % 4;
    matrix[n_slab][k_slab][j][lane] = __ldg(reinterpret_cast<const uint4*>(
        source + (32 * n_slab + matrix_row(j, g)) * kBlock + 32 * k_slab +
        8 * t));
  }
  __syncthreads();

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
          copies[tile][slab][half].start(x + offset, valid);
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
    SlabTerms<In> terms[kTiles][kSlabs];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int slab = 0; slab < kSlabs; ++slab) {
        terms[tile][slab].set(copies[tile][slab][0].take(),
                              copies[tile][slab][1].take());
      }
    }
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
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          lane_out.take(epilogue, shared, shape, r, side, sums[tile][side]);
        }
        lane_out.finish(epilogue, shape, r);
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
      kTransformWarps * kRingStages<In> * 4 * sizeof(OctetCopy<In>);
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
