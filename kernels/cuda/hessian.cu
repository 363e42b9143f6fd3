#include <algorithm>

#include "kernels/cuda/hessian.h"
#include "kernels/cuda/hessian_kernels.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {
namespace {

// mma.sync: tiles of 64 x 64, any number of channels.

constexpr int kTile = 64;
constexpr int kTokens = 32;        // of a step
constexpr int kPitch = kTile + 8;  // elements; rows 16 bytes apart modulo 128

__device__ inline void load_transposed(unsigned (&r)[4], const void* from) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(shared_address(from)));
}

__device__ inline void fill_tile(std::uint16_t (&tile)[kTokens][kPitch],
                                 const std::uint16_t* x, std::int64_t token,
                                 std::int64_t tokens, std::int64_t channel,
                                 std::int64_t channels) {
  for (int i = threadIdx.x; i < kTokens * kTile; i += 128) {
    const int r = i / kTile, c = i % kTile;
    const bool inside = token + r < tokens && channel + c < channels;
    tile[r][c] = inside ? x[(token + r) * channels + channel + c] : 0;
  }
}

__global__ __launch_bounds__(128) void portable_hessian_kernel(
    const std::uint16_t* __restrict__ x, std::int64_t tokens,
    HessianOutput out) {
  if (blockIdx.x > blockIdx.y) return;  // above the diagonal
  __shared__ alignas(16) std::uint16_t rows[kTokens][kPitch];
  __shared__ alignas(16) std::uint16_t columns[kTokens][kPitch];
  const std::int64_t row = blockIdx.y * std::int64_t{kTile};
  const std::int64_t column = blockIdx.x * std::int64_t{kTile};
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int m0 = warp / 2 * 32, n0 = warp % 2 * 32;  // the warp's 32 x 32
  float sums[2][4][4] = {};
  for (std::int64_t token = 0; token < tokens; token += kTokens) {
    fill_tile(rows, x, token, tokens, row, out.channels);
    fill_tile(columns, x, token, tokens, column, out.channels);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kTokens; k += 16) {
      // Lanes give the rows of four 8 x 8 matrices: for a, channels then tokens
      // move on by 8; for b, tokens then channels.
      const int i = lane >> 3, r = lane & 7;
      unsigned a[2][4], b[2][4];
#pragma unroll
      for (int tile = 0; tile < 2; ++tile) {
        load_transposed(
            a[tile], &rows[k + r + (i >> 1) * 8][m0 + 16 * tile + (i & 1) * 8]);
        load_transposed(
            b[tile],
            &columns[k + r + (i & 1) * 8][n0 + 16 * tile + (i >> 1) * 8]);
      }
#pragma unroll
      for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          multiply_accumulate(sums[tile][j], a[tile], b[j / 2][2 * (j % 2)],
                              b[j / 2][2 * (j % 2) + 1]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int tile = 0; tile < 2; ++tile) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        out.add(row + m0 + 16 * tile + (lane >> 2) + (r >= 2 ? 8 : 0),
                column + n0 + 8 * j + 2 * (lane & 3) + (r & 1),
                sums[tile][j][r]);
      }
    }
  }
}

cudaError_t launch_portable(const void* x, std::int64_t tokens,
                            const HessianOutput& out, cudaStream_t stream) {
  const auto tiles = static_cast<unsigned>(ceil_div(out.channels, kTile));
  portable_hessian_kernel<<<dim3(tiles, tiles), 128, 0, stream>>>(
      static_cast<const std::uint16_t*>(x), tokens, out);
  return cudaGetLastError();
}

}  // namespace

Status accumulate_hessian(HessianKernel kernel, const void* x,
                          std::int64_t tokens, std::int64_t channels, float* h,
                          float* residual, Stream stream) {
  if (tokens < 0 || channels < 0 || tokens > 1 << 30 || channels > 1 << 30) {
    return failure(kHessianName, {tokens, channels},
                   "a size is not in 0 .. 2^30");
  }
  if (!aligned({x, h, residual})) {
    return failure(kHessianName, {tokens, channels},
                   "pointers must be 16-byte aligned");
  }
  if (tokens == 0 || channels == 0) return {};
  DeviceInfo info;
  if (Status s = device_info(&info); !s.ok()) return s;
  const bool can_hopper = info.architecture == 90 && channels % 8 == 0;
  if (kernel == HessianKernel::kHopper && !can_hopper) {
    return failure(kHessianName, {tokens, channels},
                   "the Hopper kernel needs compute capability 9.0 and "
                   "channels a multiple of 8");
  }
  const bool hopper = kernel != HessianKernel::kPortable && can_hopper;
  const HessianOutput out{h, residual, channels};
  const std::int64_t chunk = residual != nullptr ? kHessianChunk : tokens;
  if (hopper) {
    return launch_hopper_hessian(x, tokens, chunk, out, info.multiprocessors,
                                 stream);
  }
  for (std::int64_t first = 0; first < tokens; first += chunk) {
    const auto* part = static_cast<const std::uint16_t*>(x) + first * channels;
    if (Status s = check(
            launch_portable(part, std::min(chunk, tokens - first), out, stream),
            kHessianName, {tokens, channels});
        !s.ok()) {
      return s;
    }
  }
  return {};
}

}  // namespace wush::kernels::cuda
