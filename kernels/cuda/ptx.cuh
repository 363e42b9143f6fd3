// The instructions that CUDA C++ has no name for.
#pragma once

#include <cstdint>

namespace wush::kernels::cuda {

inline constexpr unsigned kFullWarp = 0xffffffffu;

__device__ inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// The address, for the cluster, of what lies in block `rank`'s shared memory
// where this block has `place`.
__device__ inline unsigned address_of(const void* place, int rank) {
  unsigned there = 0;
#if __CUDA_ARCH__ >= 900
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(there)
      : "r"(shared_address(place)), "r"(rank));
#endif
  return there;
}

// Copies 16 bytes to an address in shared memory without passing registers;
// zeros instead when not `valid`.
__device__ inline void copy_async_16(unsigned to, const void* from,
                                     bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void copy_async_16(void* to, const void* from, bool valid) {
  copy_async_16(shared_address(to), from, valid);
}
// The same where the other pieces of 256 aligned bytes are read soon: they come
// to the second-level cache together.
__device__ inline void copy_async_16_of_256(void* to, const void* from,
                                            bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
// The same as copy_async_16 for 4 or 8 bytes, through the first-level cache.
template <int bytes>
__device__ inline void copy_async_small(void* to, const void* from,
                                        bool valid = true) {
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)),
      "l"(from), "n"(bytes), "r"(valid ? bytes : 0)
      : "memory");
}
// The same for `bytes`, 8 or 16, that are valid.
template <int bytes>
__device__ inline void copy_async(void* to, const void* from) {
  if constexpr (bytes == 16) {
    copy_async_16(to, from, true);
  } else {
    copy_async_small<bytes>(to, from, true);
  }
}
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most `pending` of this thread's groups of copies are under way.
template <int pending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

__device__ inline float4 load_shared(unsigned from) {
  float4 v;
  asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(from)
               : "memory");
  return v;
}
// Four matrices of 8 x 8 16-bit values, lane 8i + r giving the address of row r
// of matrix i: of each, lane (g, t) gets values 2t and 2t + 1 of row g.
__device__ inline void load_matrices(unsigned (&to)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from)
               : "memory");
}

// d += a b on a 16 x 8 tile, a [16, 16] row-major and b [16, 8] column-major,
// bfloat16, float32 accumulation. Lane (g, t) = (lane / 4, lane % 4) holds
//   a[0..3]: rows g, g + 8, g, g + 8; columns 2t, 2t, 2t + 8, 2t + 8 and the
//   next b[0..1]: column g; rows 2t and 2t + 8 and the next d[0..3]: rows g, g,
//   g + 8, g + 8; columns 2t, 2t + 1, 2t, 2t + 1
__device__ inline void multiply_accumulate(float (&d)[4],
                                           const unsigned (&a)[4], unsigned b0,
                                           unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace wush::kernels::cuda
