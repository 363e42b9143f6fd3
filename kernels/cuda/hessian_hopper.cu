// wgmma: tiles of 128 rows by kColumns columns of H. Both operands are boxes of
// 64 tokens by 64 channels of x as they lie in memory, k across their rows.
#include <algorithm>

#include "kernels/cuda/hessian_kernels.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tensor_map.h"

namespace wush::kernels::cuda {
namespace {

constexpr int kRows = 128;
constexpr int kBox = 64;
constexpr int kBoxBytes = kBox * kBox * 2;
constexpr int kConsumers = 2;  // warpgroups, 64 rows each
constexpr int kThreads = 128 * (kConsumers + 1);

template <int kColumns>
struct HessianTile {
  static constexpr int kBoxes = kRows / kBox + kColumns / kBox;
  static constexpr int kStageBytes = kBoxes * kBoxBytes;
  static constexpr int kStages = kColumns == 256 ? 4 : 6;
  static constexpr int kSharedBytes =
      kStages * kStageBytes + kStages * 16 + 1024;
};

// Tiles that reach below the diagonal: row tile i has i / per + 1 of them, per
// = kColumns / kRows. They are walked in bands of kBandRows row tiles, column
// by column, so that the tiles that run at once share both operands in the L2
// cache.
constexpr int kBandRows = 16;

struct TriangleTiles {
  int per;
  int rows;  // row tiles

  __host__ __device__ std::int64_t count() const {
    const std::int64_t whole = rows / per;  // complete sets of `per` rows
    return per * whole * (whole + 1) / 2 + (rows - whole * per) * (whole + 1);
  }
  __device__ void locate(std::int64_t index, int* row, int* column) const {
    for (int first = 0; first < rows; first += kBandRows) {
      const int end = min(first + kBandRows, rows);
      for (int j = 0; j * per < end; ++j) {
        const int from = max(first, j * per);
        if (index < end - from) {
          *row = from + static_cast<int>(index);
          *column = j;
          return;
        }
        index -= end - from;
      }
    }
  }
};

template <int kColumns>
__global__ __launch_bounds__(kThreads, 1) void hopper_hessian_kernel(
    const __grid_constant__ CUtensorMap map, int first_token, int tokens,
    std::int64_t tiles, HessianOutput out) {
  using T = HessianTile<kColumns>;
  extern __shared__ unsigned char raw[];
  unsigned char* base = raw + (-shared_address(raw) & 1023u);
  auto* full =
      reinterpret_cast<std::uint64_t*>(base + T::kStages * T::kStageBytes);
  std::uint64_t* empty = full + T::kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < T::kStages; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], kConsumers * 4);
    }
    fence_barrier_init();
  }
  __syncthreads();
  const TriangleTiles triangle{
      kColumns / kRows, static_cast<int>((out.channels + kRows - 1) / kRows)};
  const int steps = (tokens + kBox - 1) / kBox;
  const int warpgroup = threadIdx.x / 128;
  int stage = 0;
  unsigned parity = 0;
  const auto advance = [&] {
    if (++stage == T::kStages) {
      stage = 0;
      parity ^= 1;
    }
  };
  if (warpgroup == kConsumers) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x != kConsumers * 128) return;
    for (std::int64_t i = blockIdx.x; i < tiles; i += gridDim.x) {
      int row, column;
      triangle.locate(i, &row, &column);
      for (int s = 0; s < steps; ++s) {
        barrier_wait(&empty[stage], parity ^ 1);
        barrier_expect(&full[stage], T::kStageBytes);
        unsigned char* to = base + stage * T::kStageBytes;
        for (int box = 0; box < T::kBoxes; ++box) {
          const int channel = box < kRows / kBox
                                  ? row * kRows + box * kBox
                                  : column * kColumns + box * kBox - kRows;
          copy_box(to + box * kBoxBytes, &map, channel, first_token + s * kBox,
                   &full[stage]);
        }
        advance();
      }
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  const bool leader = (threadIdx.x & 31) == 0;
  const int warp = (threadIdx.x & 127) >> 5;
  const int g = (threadIdx.x & 31) >> 2, t = threadIdx.x & 3;
  for (std::int64_t i = blockIdx.x; i < tiles; i += gridDim.x) {
    int row, column;
    triangle.locate(i, &row, &column);
    float sums[kColumns / 2];
    int last = -1;
    for (int s = 0; s < steps; ++s) {
      barrier_wait(&full[stage], parity);
      const unsigned char* from = base + stage * T::kStageBytes;
      const std::uint64_t a =
          tile_descriptor(from + warpgroup * kBoxBytes, 1024, kBoxBytes);
      const std::uint64_t b =
          tile_descriptor(from + kRows / kBox * kBoxBytes, 1024, kBoxBytes);
      warpgroup_fence();
#pragma unroll
      for (int k = 0; k < kBox / 16; ++k) {
        // 16 tokens on are 2048 bytes.
        multiply_transposed(sums, a + 128 * k, b + 128 * k, s != 0 || k != 0);
      }
      warpgroup_commit();
      warpgroup_wait<1>();
      if (leader && last >= 0) barrier_arrive(&empty[last]);
      last = stage;
      advance();
    }
    warpgroup_wait<0>();
    if (leader) barrier_arrive(&empty[last]);
    const std::int64_t m =
        row * std::int64_t{kRows} + warpgroup * 64 + warp * 16 + g;
    const std::int64_t n = column * std::int64_t{kColumns} + 2 * t;
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        out.add_pair(m + 8 * half, n + 8 * j, sums[4 * j + 2 * half],
                     sums[4 * j + 2 * half + 1]);
      }
    }
  }
}

template <int kColumns>
std::int64_t triangle_tiles(std::int64_t channels) {
  return TriangleTiles{kColumns / kRows,
                       static_cast<int>(ceil_div(channels, kRows))}
      .count();
}

template <int kColumns>
cudaError_t launch_hopper(const CUtensorMap& map, std::int64_t first,
                          std::int64_t tokens, const HessianOutput& out,
                          int multiprocessors, cudaStream_t stream) {
  constexpr int kBytes = HessianTile<kColumns>::kSharedBytes;
  auto* kernel = hopper_hessian_kernel<kColumns>;
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
      error != cudaSuccess) {
    return error;
  }
  const std::int64_t tiles = triangle_tiles<kColumns>(out.channels);
  const auto blocks =
      static_cast<unsigned>(std::min<std::int64_t>(tiles, multiprocessors));
  kernel<<<blocks, kThreads, kBytes, stream>>>(
      map, static_cast<int>(first), static_cast<int>(tokens), tiles, out);
  return cudaGetLastError();
}

// Columns of a tile: waves of tiles times the cost of one, a narrow one being
// less efficient.
bool wide_tiles(std::int64_t channels, int multiprocessors) {
  const auto wide = ceil_div(triangle_tiles<256>(channels), multiprocessors);
  const auto narrow = ceil_div(triangle_tiles<128>(channels), multiprocessors);
  return 2.0 * static_cast<double>(wide) <= 1.15 * static_cast<double>(narrow);
}

}  // namespace

Status launch_hopper_hessian(const void* x, std::int64_t tokens,
                             std::int64_t chunk, const HessianOutput& out,
                             int multiprocessors, cudaStream_t stream) {
  CUtensorMap map{};
  const TensorMapSource source{
      x, tokens, out.channels, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, kBox, kBox};
  if (Status s = encode_tensor_map(kHessianName, source, &map); !s.ok()) {
    return s;
  }
  const bool wide = wide_tiles(out.channels, multiprocessors);
  for (std::int64_t first = 0; first < tokens; first += chunk) {
    const std::int64_t count = std::min(chunk, tokens - first);
    const cudaError_t error = wide
                                  ? launch_hopper<256>(map, first, count, out,
                                                       multiprocessors, stream)
                                  : launch_hopper<128>(map, first, count, out,
                                                       multiprocessors, stream);
    if (error != cudaSuccess) {
      return check(error, kHessianName, {tokens, out.channels});
    }
  }
  return {};
}

}  // namespace wush::kernels::cuda
