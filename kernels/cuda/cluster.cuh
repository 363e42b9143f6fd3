// Blocks that work together and launches that overlap the one before (sm_90).
// On older architectures every block is alone and nothing overlaps.
#pragma once

#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {

// Blocks of a cluster along x, and which of them this one is.
__device__ inline int cluster_blocks() {
#if __CUDA_ARCH__ >= 900
  int blocks;
  asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(blocks));
  return blocks;
#else
  return 1;
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
// be read by the other blocks after it.
__device__ inline void cluster_sync() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}

// What block `rank` of the cluster has at this place of its shared memory.
__device__ inline float load_shared_of(const float* place, int rank) {
#if __CUDA_ARCH__ >= 900
  unsigned address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(address)
      : "r"(shared_address(place)), "r"(rank));
  float value;
  asm volatile("ld.shared::cluster.f32 %0, [%1];"
               : "=f"(value)
               : "r"(address)
               : "memory");
  return value;
#else
  return *place;
#endif
}

// Brings bytes, a multiple of 16, to the second-level cache. They may still be
// written by others afterwards: that cache is where all multiprocessors meet.
__device__ inline void prefetch_bulk(const void* from, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from),
               "r"(bytes)
               : "memory");
#endif
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

}  // namespace wush::kernels::cuda
