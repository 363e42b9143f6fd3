#include <cuda_bf16.h>

#include "kernels/bench/cuda_fill.h"

namespace wush::kernels::bench {
namespace {

__device__ std::uint64_t mix(std::uint64_t x) {  // SplitMix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

__global__ void fill_kernel(__nv_bfloat16* values, std::int64_t size,
                            std::uint64_t seed) {
  const std::int64_t step = gridDim.x * std::int64_t{blockDim.x};
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x;
       i < size; i += step) {
    const std::uint64_t bits = mix(seed ^ mix(static_cast<std::uint64_t>(i)));
    const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f;
    const float v = static_cast<float>(bits & 0xffffffu) * 0x1p-24f;
    values[i] = __float2bfloat16_rn(sqrtf(-2 * logf(u)) * cospif(2 * v));
  }
}

}  // namespace

cuda::Status fill_normal(std::uint16_t* values, std::int64_t size,
                         std::uint64_t seed, cuda::Stream stream) {
  if (size == 0) return {};
  fill_kernel<<<2048, 256, 0, stream>>>(
      reinterpret_cast<__nv_bfloat16*>(values), size, seed);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? cuda::Status{}
                              : cuda::Status(cudaGetErrorString(error));
}

}  // namespace wush::kernels::bench
