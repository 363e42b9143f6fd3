// Hopper's asynchronous copies (sm_90a).
#pragma once

#include <cstdint>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {

// Copies `bytes` contiguous bytes to shared memory; counts them on the barrier.
__device__ inline void copy_bulk(void* to, const void* from, unsigned bytes,
                                 std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}

// Copies a box of a tensor map, whose first column and row are given; what lies
// outside of the tensor is filled with zeros.
__device__ inline void copy_box(void* to, const void* map, int column, int row,
                                std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx"
      "::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)),
      "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier))
      : "memory");
}

// The same to this place of every block of the cluster in `blocks` (bits), each
// of which counts the bytes on its own barrier.
__device__ inline void copy_box_to(unsigned blocks, void* to, const void* map,
                                   int column, int row,
                                   std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx"
      "::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(
          shared_address(to)),
      "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier)),
      "h"(static_cast<unsigned short>(blocks))
      : "memory");
}

// Brings a box to the second-level cache.
__device__ inline void prefetch_box(const void* map, int column, int row) {
  asm volatile(
      "cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(
          map),
      "r"(column), "r"(row)
      : "memory");
}

// What this thread wrote to shared memory can be read by matrix instructions.
__device__ inline void fence_shared_writes() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

}  // namespace wush::kernels::cuda
