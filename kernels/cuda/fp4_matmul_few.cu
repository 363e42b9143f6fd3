// Products with few tokens, bound by reading the weights; mma.sync with the
// weights as its first operand, so that 16 x 8 tiles waste nothing from 8
// tokens on.
//
// A block of eight warps takes 128 features and a share of the columns. What
// that needs:
//  - bytes in flight: every warp keeps two runs of four chunks of 128
//    columns under way, up to 128 KiB a multiprocessor;
//  - few instructions a weight: activations are decoded once for the block, in
//    the order of the matrix operands, to shared memory; weights in registers,
//    where one multiplication applies both the exponent's bias and the scale;
//  - work for every multiprocessor: the blocks of a cluster (sm_90) share a
//    tile's columns and add their sums through each other's shared memory, in
//    the order of the blocks, so that results do not depend on timing;
//  - no gap between launches: the next one begins while this one ends and
//    brings its first weights to the second-level cache; it reads and writes
//    only after this one has ended.
#include <algorithm>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/fp4_few_operands.cuh"
#include "kernels/cuda/fp4_matmul_kernels.h"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda::few {
namespace {

// Adds the sums of the column warps and of the cluster's blocks, in this order.
template <class Sums>
__device__ inline float add_sums(const Sums& sums, int m, int n, int blocks) {
  constexpr int kColumnWarps = sizeof(Sums) / sizeof(sums[0]);
  float parts[kMostBlocks][kColumnWarps];
#pragma unroll
  for (int b = 0; b < kMostBlocks; ++b) {
#pragma unroll
    for (int w = 0; w < kColumnWarps; ++w) {
      parts[b][w] = b < blocks ? load_shared_of(&sums[w][m][n], b) : 0.0f;
    }
  }
  float total = 0;
#pragma unroll
  for (int b = 0; b < kMostBlocks; ++b) {
#pragma unroll
    for (int w = 0; w < kColumnWarps; ++w) total += parts[b][w];
  }
  return total;
}

// Adds the sums of all warps of the cluster and stores them; `memory` is free.
template <Family F, int kTokenTiles>
__device__ inline void finish(
    const typename WeightChunk<F, kTokenTiles>::Sum& sum, void* memory,
    int column_warp, int warp_feature, std::int64_t feature, std::int64_t token,
    std::int64_t features, std::int64_t rows, const MmaOutput& out) {
  using Shape = Few<F, kTokenTiles>;
  const int lane = threadIdx.x % 32;
  const int blocks = cluster_blocks(), rank = cluster_rank();
  auto& sums = *static_cast<typename Shape::Sums*>(memory);
#pragma unroll
  for (int i = 0; i < Shape::kTiles * kTokenTiles * 4; ++i) {
    const int r = i % 4, j = i / 4 % kTokenTiles, tile = i / 4 / kTokenTiles;
    sums[column_warp][8 * j + lane % 4 * 2 + r % 2]
        [warp_feature + 16 * tile + lane / 4 + r / 2 * 8] = sum[tile][j][r];
  }
  cluster_sync();
  const int tokens =
      static_cast<int>(min(std::int64_t{8 * kTokenTiles}, rows - token));
  for (int i = rank * kThreads + threadIdx.x; i < tokens * kFeatures;
       i += blocks * kThreads) {
    const int m = i / kFeatures, n = i % kFeatures;
    const float total = add_sums(sums, m, n, blocks);
    if (feature + n < features)
      out.store(token + m, feature + n, features, total);
  }
  cluster_sync();  // a block that ends takes its shared memory along
}

// Needs cols % 128 == 0 and at least as many chunks as blocks in a cluster.
template <Family F, int kTokenTiles>
__global__ __launch_bounds__(kThreads,
                             2) void few_matmul_kernel(OperandRows<F> w,
                                                       OperandRows<F> x,
                                                       MmaOutput out) {
  using Shape = Few<F, kTokenTiles>;
  extern __shared__ uint4 dynamic[];
  auto& shared = *reinterpret_cast<typename Shape::Shared*>(dynamic);
  const int warp = threadIdx.x / 32;
  const int blocks = cluster_blocks(), rank = cluster_rank();
  const int chunks = static_cast<int>(w.cols / kChunkColumns);
  const int first = chunks * rank / blocks;
  const int last = chunks * (rank + 1) / blocks;
  const std::int64_t feature = blockIdx.x / blocks * std::int64_t{kFeatures};
  const std::int64_t token = blockIdx.y * std::int64_t{8 * kTokenTiles};
  const int column_warp = warp / Shape::kFeatureWarps;
  const int warp_feature = warp % Shape::kFeatureWarps * 16 * Shape::kTiles;

  Weights<F, kTokenTiles> weights(w, feature + warp_feature,
                                  first + column_warp * Shape::kRun, last);
  allow_next_launch();
  weights.prefetch();
  wait_for_previous_launch();
  weights.start(shared.ring[warp][0]);
  weights.start(shared.ring[warp][1]);
  Pieces<F, kTokenTiles> pieces;
  pieces.load(x, token, first, last);

  // mxfp4 sums lack the narrow weights' power of two until the first chunk with
  // scales out of the narrow range, which is rare.
  constexpr float kMissing = static_cast<float>(1 << kNarrowShift);
  typename WeightChunk<F, kTokenTiles>::Sum sum = {};
  bool wide = F != Family::kPowerOfTwo;
  const auto widen = [&] {
    wide = true;
#pragma unroll
    for (int i = 0; i < Shape::kTiles * kTokenTiles * 4; ++i) {
      sum[i / 4 / kTokenTiles][i / 4 % kTokenTiles][i % 4] *= kMissing;
    }
  };
  int stage = 0;
  for (int slab = first; slab < last; slab += Shape::kSlab) {
    const bool narrow = __syncthreads_and(pieces.store(shared.slab)) != 0;
    pieces.load(x, token, slab + Shape::kSlab, last);
    const int end = min(Shape::kSlab, last - slab);
    for (int run = column_warp * Shape::kRun; run < end;
         run += Shape::kRun * Shape::kColumnWarps) {
      wait_copies<1>();
      __syncwarp();  // scales were copied by other lanes
      const auto& copied = shared.ring[warp][stage];
#pragma unroll 1
      for (int c = 0; c < min(Shape::kRun, end - run); ++c) {
        WeightChunk<F, kTokenTiles> chunk;
        chunk.read(copied, c);
        if constexpr (F == Family::kPowerOfTwo) {
          if (!wide && !(chunk.narrow() && narrow)) widen();
          if (!wide) chunk.template multiply<true>(shared.slab[run + c], sum);
        }
        if (wide) chunk.template multiply<false>(shared.slab[run + c], sum);
      }
      __syncwarp();
      weights.start(shared.ring[warp][stage]);
      stage ^= 1;
    }
    __syncthreads();
  }
  if (!wide) widen();

  finish<F, kTokenTiles>(sum, dynamic, column_warp, warp_feature, feature,
                         token, w.rows, x.rows, out);
}

// Clusters of every size that the device runs at once: fewer than its
// multiprocessors hold of single blocks, since a cluster lies within a part of
// the device.
struct Resident {
  int clusters[kMostBlocks + 1];
};

// How a launch of clusters of `blocks` differs from a plain one.
void describe_cluster(int blocks, cudaLaunchAttribute* attribute) {
  attribute->id = cudaLaunchAttributeClusterDimension;
  attribute->val.clusterDim.x = static_cast<unsigned>(blocks);
  attribute->val.clusterDim.y = 1;
  attribute->val.clusterDim.z = 1;
}

template <class Kernel>
Resident query_resident(Kernel* kernel, int bytes) {
  Resident resident = {};
  for (int blocks = 1; blocks <= kMostBlocks; ++blocks) {
    cudaLaunchAttribute attribute = {};
    describe_cluster(blocks, &attribute);
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = static_cast<std::size_t>(bytes);
    config.attrs = &attribute;
    config.numAttrs = 1;
    if (cudaOccupancyMaxActiveClusters(&resident.clusters[blocks], kernel,
                                       &config) != cudaSuccess) {
      resident.clusters[blocks] = 0;
      static_cast<void>(cudaGetLastError());
    }
  }
  return resident;
}

// Blocks that share the columns of a tile, for the least time. It is counted in
// twentieths of what two blocks on a multiprocessor take for a chunk each; one
// alone takes about 16, and starting and ending a block 40. (Measured on an
// H100: within 3 % of the best size over the layers of figure 2.)
int cluster_size(std::int64_t tiles, std::int64_t chunks, int multiprocessors,
                 const Resident& resident) {
  int best = 1;
  std::int64_t least = 0;
  for (int blocks = 1; blocks <= std::min<std::int64_t>(chunks, kMostBlocks);
       ++blocks) {
    const std::int64_t clusters = resident.clusters[blocks];
    if (clusters == 0) continue;
    const std::int64_t share = ceil_div(chunks, blocks);
    const std::int64_t waves = ceil_div(tiles, clusters);
    const std::int64_t rest = (tiles - (waves - 1) * clusters) * blocks;
    const std::int64_t cost = (waves - 1) * (20 * share + 40) +
                              (rest <= multiprocessors ? 16 : 20) * share + 40;
    if (least == 0 || cost < least) {
      best = blocks;
      least = cost;
    }
  }
  return best;
}

template <Family F, int kTokenTiles>
cudaError_t launch(const MatmulProblem& p) {
  using Shape = Few<F, kTokenTiles>;
  auto* kernel = few_matmul_kernel<F, kTokenTiles>;
  constexpr int kBytes = sizeof(typename Shape::Shared);
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
      error != cudaSuccess) {
    return error;
  }
  const std::int64_t tiles = ceil_div(p.features, kFeatures);
  const std::int64_t token_tiles = ceil_div(p.tokens, 8 * kTokenTiles);
  // Of the first device that asks: another one gets right results, too.
  static const Resident resident = query_resident(kernel, kBytes);
  const int blocks = cluster_size(tiles * token_tiles, p.cols / kChunkColumns,
                                  p.multiprocessors, resident);
  const OperandRows<F> w{p.w.codes, p.w.scales, p.features, p.cols};
  const OperandRows<F> x{p.x.codes, p.x.scales, p.tokens, p.cols};
  const dim3 grid(static_cast<unsigned>(tiles * blocks),
                  static_cast<unsigned>(token_tiles));
  return launch_overlapping(kernel, {grid, kThreads, kBytes, p.stream, blocks},
                            w, x, make_output<F>(p));
}

template <Family F>
constexpr std::size_t kMostBytes = std::max(
    {sizeof(typename Few<F, 1>::Shared), sizeof(typename Few<F, 2>::Shared),
     sizeof(typename Few<F, 4>::Shared)});

template <Family F>
cudaError_t launch_family(const MatmulProblem& p) {
  if (p.tokens <= 8) return launch<F, 1>(p);
  if (p.tokens <= 16) return launch<F, 2>(p);
  return launch<F, 4>(p);
}

}  // namespace
}  // namespace wush::kernels::cuda::few

namespace wush::kernels::cuda {

bool can_few_matmul(const MatmulProblem& problem) {
  constexpr std::size_t kBytes = std::max({few::kMostBytes<Family::kPowerOfTwo>,
                                           few::kMostBytes<Family::kE4m3>,
                                           few::kMostBytes<Family::kStep>});
  int device = 0, bytes = 0;
  return problem.cols % kChunkColumns == 0 &&
         cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                device) == cudaSuccess &&
         static_cast<std::size_t>(bytes) >= kBytes &&
         can_overlap(few::few_matmul_kernel<Family::kStep, 1>);
}

cudaError_t launch_few_matmul(const MatmulProblem& problem) {
  return dispatch_family(problem.format, [&]<Family F>() {
    return few::launch_family<F>(problem);
  });
}

}  // namespace wush::kernels::cuda
