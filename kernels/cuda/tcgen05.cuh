// Blackwell's fifth-generation tensor cores and their memory (sm_100a); section
// 9.7.16 of the PTX ISA 9.0. All for one block (cta_group::1).
#pragma once

#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {

// True for one lane of a converged warp.
__device__ inline bool elect_one() {
  unsigned elected;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "elect.sync _|p, 0xffffffff;\n"
      "selp.b32 %0, 1, 0, p;\n"
      "}"
      : "=r"(elected));
  return elected != 0;
}

// What this thread has written to shared memory is visible to the asynchronous
// proxy, through which tcgen05.cp and tcgen05.mma read (9.7.16.6.5).
__device__ inline void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// A whole warp; writes the address of `columns` (a power of two from 32 to 512)
// of tensor memory to *address and waits until there are so many. The block may
// not allocate again.
__device__ inline void tensor_allocate(std::uint32_t* address,
                                       unsigned columns) {
  asm volatile(
      "tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%0], %1;" ::"r"(
          shared_address(address)),
      "r"(columns)
      : "memory");
  asm volatile("tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;" ::
                   : "memory");
}
// The same warp, before the block ends.
__device__ inline void tensor_release(std::uint32_t address, unsigned columns) {
  asm volatile(
      "tcgen05.dealloc.cta_group::1.sync.aligned.b32 %0, %1;" ::"r"(address),
      "r"(columns)
      : "memory");
}

// Around what orders threads (barriers), when one thread's tcgen05 operations
// follow another's (9.7.16.6.3).
__device__ inline void tensor_fence_before() {
  asm volatile("tcgen05.fence::before_thread_sync;" ::: "memory");
}
__device__ inline void tensor_fence_after() {
  asm volatile("tcgen05.fence::after_thread_sync;" ::: "memory");
}

// Of one thread: the barrier gets an arrival when all tcgen05 operations that
// this thread has issued are done.
__device__ inline void tensor_commit(std::uint64_t* barrier) {
  asm volatile(
      "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 "
      "[%0];" ::"r"(shared_address(barrier))
      : "memory");
}

// One thread: 512 bytes of shared memory, 32 rows of 16, to four columns of
// every quarter of the lanes. tcgen05.mma of the same thread that follow see
// them (9.7.16.6.2).
__device__ inline void tensor_copy_scales(std::uint32_t to,
                                          std::uint64_t from) {
  asm volatile("tcgen05.cp.cta_group::1.32x128b.warpx4 [%0], %1;" ::"r"(to),
               "l"(from)
               : "memory");
}

// One thread: d (+)= (a scales_a) (b scales_b)^T, a and b of e2m1 in shared
// memory, 64 columns each; with e8m0 scales of 32 or e4m3 scales of 16.
template <bool kE8m0>
__device__ inline void tensor_multiply_fp4(std::uint32_t d, std::uint64_t a,
                                           std::uint64_t b,
                                           std::uint32_t instruction,
                                           std::uint32_t scales_a,
                                           std::uint32_t scales_b,
                                           bool accumulate) {
  if constexpr (kE8m0) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
        "tcgen05.mma.cta_group::1.kind::mxf4.block_scale.scale_vec::2X "
        "[%0], %1, %2, %3, [%4], [%5], p;\n}" ::"r"(d),
        "l"(a), "l"(b), "r"(instruction), "r"(scales_a), "r"(scales_b),
        "r"(accumulate ? 1 : 0)
        : "memory");
  } else {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
        "tcgen05.mma.cta_group::1.kind::mxf4nvf4.block_scale.scale_vec::4X "
        "[%0], %1, %2, %3, [%4], [%5], p;\n}" ::"r"(d),
        "l"(a), "l"(b), "r"(instruction), "r"(scales_a), "r"(scales_b),
        "r"(accumulate ? 1 : 0)
        : "memory");
  }
}

// A whole warp, the w-th of its four: lane l gets columns address .. + 31 of
// lane 32 w + l; the address names lane 32 w.
__device__ inline void tensor_load(float (&values)[32], std::uint32_t address) {
  asm volatile(
      "tcgen05.ld.sync.aligned.32x32b.x32.b32 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "
      "%30, %31}, [%32];\n"
      // In one statement, so that no use can come between.
      "tcgen05.wait::ld.sync.aligned;"
      : "=f"(values[0]), "=f"(values[1]), "=f"(values[2]), "=f"(values[3]),
        "=f"(values[4]), "=f"(values[5]), "=f"(values[6]), "=f"(values[7]),
        "=f"(values[8]), "=f"(values[9]), "=f"(values[10]), "=f"(values[11]),
        "=f"(values[12]), "=f"(values[13]), "=f"(values[14]), "=f"(values[15]),
        "=f"(values[16]), "=f"(values[17]), "=f"(values[18]), "=f"(values[19]),
        "=f"(values[20]), "=f"(values[21]), "=f"(values[22]), "=f"(values[23]),
        "=f"(values[24]), "=f"(values[25]), "=f"(values[26]), "=f"(values[27]),
        "=f"(values[28]), "=f"(values[29]), "=f"(values[30]), "=f"(values[31])
      : "r"(address)
      : "memory");
}

}  // namespace wush::kernels::cuda
