// Blocks that work together and launches that overlap the one before (sm_90).
// On older architectures every block is alone and nothing overlaps.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {

// Which cluster this block is of, along x, and which of its blocks it is.
__device__ inline int cluster_index() {
#if __CUDA_ARCH__ >= 900
  int index;
  asm("mov.u32 %0, %%clusterid.x;" : "=r"(index));
  return index;
#else
  return static_cast<int>(blockIdx.x);
#endif
}
__device__ inline int cluster_rank() {
#if __CUDA_ARCH__ >= 900
  int rank;
  asm("mov.u32 %0, %%cluster_ctaid.x;" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}

// A barrier of all threads of the cluster; shared memory written before it can
// be read by the other blocks after it. Between arriving and waiting a thread
// may do what does not depend on the others.
__device__ inline void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
// Arrives where only barriers were initialized (fence_barrier_init) before: the
// ordering of all memory that cluster_arrive asks for took 0.9 us on an H100
// while other blocks were reading.
__device__ inline void cluster_arrive_relaxed() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
__device__ inline void cluster_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}

__device__ inline void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

// What lies in block `rank`'s shared memory where `place` is in this block's.
__device__ inline float4 load_shared_of(const float4* place, int rank) {
  float4 v = {};
#if __CUDA_ARCH__ >= 900
  asm volatile("ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address_of(place, rank))
               : "memory");
#endif
  return v;
}

// Brings the line of 128 bytes that holds *from to the second-level cache. It
// may still be written by others afterwards: that cache is where all
// multiprocessors meet. (Bulk prefetches of many short rows were slower than
// none: they share one unit of the multiprocessor with the tensor copies.)
__device__ inline void prefetch_line(const void* from) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from) : "memory");
}

// The next launch of the stream may begin, if it was made to overlap; its
// blocks wait at wait_for_previous_launch until this launch has ended and all
// it wrote can be read.
__device__ inline void allow_next_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ inline void wait_for_previous_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Whether the kernel's code is for sm_90 or later, which knows clusters and
// overlapping launches; an earlier one's may run there, too.
template <class Kernel>
bool can_overlap(Kernel* kernel) {
  cudaFuncAttributes compiled{};
  return cudaFuncGetAttributes(&compiled, kernel) == cudaSuccess &&
         compiled.ptxVersion >= 90;
}

struct LaunchShape {
  dim3 grid;
  int threads;
  std::size_t shared_bytes;  // dynamic
  cudaStream_t stream;
  int cluster = 1;  // blocks along x; more than one needs can_overlap
};

// Launches a kernel that calls wait_for_previous_launch before it writes global
// memory or reads it, so that it may begin while the launch before it ends. It
// need not wait for what is settled (types.h), nor for what is older if that
// launch waits before it lets others begin (fp4_expand_tokens.cuh).
template <class... Parameters, class... Arguments>
cudaError_t launch_overlapping(void (*kernel)(Parameters...),
                               const LaunchShape& shape,
                               Arguments&&... arguments) {
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(shape.shared_bytes));
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim.x = static_cast<unsigned>(shape.cluster);
  attributes[1].val.clusterDim.y = 1;
  attributes[1].val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  config.attrs = attributes;
  config.numAttrs = !can_overlap(kernel) ? 0 : shape.cluster > 1 ? 2 : 1;
  const cudaError_t launched = cudaLaunchKernelEx(
      &config, kernel, static_cast<Arguments&&>(arguments)...);
  return launched == cudaSuccess ? cudaGetLastError() : launched;
}

}  // namespace wush::kernels::cuda
