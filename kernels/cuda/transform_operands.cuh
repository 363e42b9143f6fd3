// What the kernels of block_transform.cuh multiply, on its way from memory to
// fragments.
//
// A slab is 16 rows by 32 columns, one warp's unit of work. In both operands of
// the matrix instructions the order of k is free as long as it is the same, and
// so is the order of the output columns. It is chosen so that a fragment comes
// from shared memory in four consecutive registers, as the instruction takes it
// (put together by moves it cost 1.5 instructions a value), and so that lane
// (g, t) = (lane / 4, lane % 4) ends with columns 8t .. 8t + 7 of rows g and
// g + 8, as whole octets:
//   word i = 2s + w (step s, slots 8w + 2t, 8w + 2t + 1)
//     <-  columns 8i + 2t, 8i + 2t + 1 of 16-bit inputs, by ldmatrix
//     <-  columns 8t + 2i, 8t + 2i + 1 of float32
//   tile j, output slot c  <-  column 8 (c / 2) + 2j + c % 2
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/octet.cuh"
#include "kernels/cuda/ptx.cuh"

namespace wush::kernels::cuda {

// A lane's fragments of a slab as bfloat16 terms whose sum is the input.
template <class In>
struct SlabTerms {
  static constexpr int kTerms = sizeof(In) == 4              ? 3
                                : std::is_same_v<In, __half> ? 2
                                                             : 1;
  unsigned a[kTerms][2][4];  // by step

  // Two neighbouring values, for register r of a step's fragment.
  __device__ void split(int step, int r, float low, float high) {
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
      const unsigned l = __float_as_uint(low), h = __float_as_uint(high);
      a[term][step][r] = __byte_perm(l, h, 0x7632);  // truncated
      low -= bfloat16_high(l);
      high -= bfloat16_high(h);
    }
  }
};

// sum += slab's terms times the transform's 32 x 32 piece, b[j] the words of
// T[column of (j, g)].
template <class In>
__device__ inline void multiply_slab(float (&sum)[4][4], const SlabTerms<In>& x,
                                     const uint4 (&b)[4]) {
#pragma unroll
  for (int term = SlabTerms<In>::kTerms - 1; term >= 0; --term) {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        multiply_accumulate(sum[j], x.a[term][s], s == 0 ? b[j].x : b[j].z,
                            s == 0 ? b[j].y : b[j].w);
      }
    }
  }
}

// Row g (half 0) or g + 8 (half 1) of a slab's result, columns 8t ...
__device__ inline void slab_octet(const float (&sum)[4][4], int half,
                                  float (&v)[8]) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    v[2 * j] = sum[j][2 * half];
    v[2 * j + 1] = sum[j][2 * half + 1];
  }
}

// Lanes of a warp in the terms above.
__device__ inline int lane_g() { return (threadIdx.x & 31) >> 2; }
__device__ inline int lane_t() { return threadIdx.x & 3; }
__device__ inline int matrix_row(int tile, int g) {
  return 8 * (g >> 1) + 2 * tile + (g & 1);
}

// A warp's slabs on their way through shared memory: every lane copies its
// octets of rows g and g + 8. The octets of 16-bit values are read by ldmatrix,
// one of each of eight rows at a time, and lie so that those are in different
// banks; float32 is read back by the lane that copied it.
template <class In>
class SlabCopies {
 public:
  static constexpr int kBytes = 16 * 32 * sizeof(In);  // of a slab

  __device__ explicit SlabCopies(const void* slabs) {
    const unsigned base = shared_address(slabs);
    to_ = base + place(lane_g(), lane_t());
    const int row = threadIdx.x & 15, side = threadIdx.x >> 4 & 1;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      from_[s] = sizeof(In) == 4
                     ? to_ + s * kChunk
                     : base + row / 8 * kHalf + place(row % 8, 2 * s + side);
    }
    // Otherwise computed anew for every tile, at half an instruction a value.
    asm volatile("" : "+r"(to_), "+r"(from_[0]), "+r"(from_[1]));
  }

  // Starts the copy of the lane's octet of row g or, for half 1, g + 8.
  __device__ void start(int slab, int half, const In* from, bool valid) const {
#pragma unroll
    for (int i = 0; i < kHalf / kChunk; ++i) {
      copy_async_16(to_ + slab * kBytes + half * kHalf + i * kChunk,
                    from + 16 / sizeof(In) * i, valid);
    }
  }

  // All lanes take part, after a barrier that follows their copies.
  __device__ void load(int slab, SlabTerms<In>& terms) const {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const unsigned place = from_[s] + slab * kBytes;
      if constexpr (sizeof(In) == 4) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float4 v = load_shared(place + half * kHalf);
          terms.split(s, half, v.x, v.y);
          terms.split(s, half + 2, v.z, v.w);
        }
      } else if constexpr (std::is_same_v<In, __half>) {
        unsigned words[4];
        load_matrices(words, place);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const float2 v =
              __half22float2(reinterpret_cast<const __half2&>(words[r]));
          terms.split(s, r, v.x, v.y);
        }
      } else {
        load_matrices(terms.a[0][s], place);
      }
    }
  }

 private:
  static constexpr int kHalf = kBytes / 2;
  static constexpr int kChunk = 16 * 32;  // 16 bytes of every lane

  // Of octet t of row g in a half, or of its first 16 bytes.
  __device__ static unsigned place(int g, int t) {
    return 16 * (4 * g + (sizeof(In) == 4 ? t : t ^ (g >> 1)));
  }

  unsigned to_, from_[2];
};

// A block's matrix in shared memory, kOctets times 16 bytes a row, on its way
// to fragments. Octets lie so that those of the eight rows that one ldmatrix
// takes together, or of the two rows that eight lanes read, are in different
// banks.
template <class In, int kOctets>
class MatrixRows {
 public:
  __device__ explicit MatrixRows(const void* memory)
      : base_(shared_address(memory)) {
    const int lane = threadIdx.x & 31;
    const int g = sizeof(In) == 4 ? lane >> 2 : lane & 7;
    const int octet = sizeof(In) == 4 ? lane & 3 : lane >> 3;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      from_[s] = base_ + place(matrix_row(0, g), 4 * s + octet);
    }
  }

  __device__ void start(int row, int octet, const __nv_bfloat16* from) const {
    copy_async_16(base_ + place(row, octet), from, true);
  }

  // The lane's words of row matrix_row(tile, g) of slab n, columns of slab k;
  // all lanes take part, after a barrier that follows the copies.
  __device__ uint4 load(int n, int k, int tile) const {
    const unsigned from =
        from_[k % 2] + k / 2 * 128 + (32 * n + 2 * tile) * kRowBytes;
    if constexpr (sizeof(In) == 4) {
      const float4 v = load_shared(from);
      return make_uint4(__float_as_uint(v.x), __float_as_uint(v.y),
                        __float_as_uint(v.z), __float_as_uint(v.w));
    } else {
      unsigned words[4];
      load_matrices(words, from);
      return make_uint4(words[0], words[1], words[2], words[3]);
    }
  }

 private:
  static constexpr int kRowBytes = 16 * kOctets;

  __device__ static unsigned place(int row, int octet) {
    return kRowBytes * row + 16 * (octet ^ (row >> 3 & 3 | (row & 1) << 2));
  }

  unsigned base_, from_[2];
};

}  // namespace wush::kernels::cuda
