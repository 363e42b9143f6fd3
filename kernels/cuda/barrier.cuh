// Barriers in shared memory that count arrivals and bytes (sm_90). On older
// architectures these do nothing: kernels that use them are not launched there.
// And a vote at one of the barriers that every block has.
#pragma once

#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {

__device__ inline void barrier_init(std::uint64_t* barrier, unsigned count) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(count)
      : "memory");
#endif
}
// Before others, of the cluster too, use a barrier that was initialized.
__device__ inline void fence_barrier_init() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
__device__ inline void barrier_expect(std::uint64_t* barrier, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
#endif
}
__device__ inline void barrier_arrive(std::uint64_t* barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
      : "memory");
#endif
}
// Arrives when this thread's asynchronous copies so far have arrived.
__device__ inline void barrier_arrive_after_copies(std::uint64_t* barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(
                   shared_address(barrier))
               : "memory");
#endif
}
// Arrives at block `rank`'s barrier that lies where this block has `barrier`.
__device__ inline void barrier_arrive_of(std::uint64_t* barrier, int rank) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(
          shared_address(barrier)),
      "r"(rank)
      : "memory");
#endif
}
__device__ inline void barrier_wait(std::uint64_t* barrier, unsigned parity) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

// Writes to a place of a block's shared memory and counts the bytes on a
// barrier of that block, both given as address_of does.
__device__ inline void store_async(unsigned place, float value,
                                   unsigned barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 "
      "[%0], %1, [%2];" ::"r"(place),
      "f"(value), "r"(barrier)
      : "memory");
#endif
}
__device__ inline void store_async(unsigned place, float4 value,
                                   unsigned barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 "
      "[%0], {%1, %2, %3, %4}, [%5];" ::"r"(place),
      "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w), "r"(barrier)
      : "memory");
#endif
}

// At barrier kBarrier of the block's sixteen, until `threads` threads are
// there.
template <int kBarrier>
__device__ inline void wait_at_barrier(int threads) {
  asm volatile("barrier.cta.sync %0, %1;" ::"n"(kBarrier), "r"(threads)
               : "memory");
}

// Barrier kBarrier of the block's sixteen, of `threads` threads; whether all
// say so. Spelled out since a block that computes the number is taken to use
// all sixteen.
template <int kBarrier>
__device__ inline bool all_at_barrier(int threads, bool own) {
  int all;
  asm volatile(
      "{\n.reg .pred p, q;\nsetp.ne.b32 p, %1, 0;\n"
      "barrier.cta.red.and.pred q, %2, %3, p;\nselp.b32 %0, 1, 0, q;\n}"
      : "=r"(all)
      : "r"(own ? 1 : 0), "n"(kBarrier), "r"(threads)
      : "memory");
  // The vote tells the compiler that the warp's lanes agree.
  return __all_sync(kFullWarp, all) != 0;
}

}  // namespace wush::kernels::cuda
