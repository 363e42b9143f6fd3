// Eight consecutive values as a lane loads them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

__device__ inline float bfloat16_low(unsigned pair) {
  return __uint_as_float(pair << 16);
}
__device__ inline float bfloat16_high(unsigned pair) {
  return __uint_as_float(pair & 0xffff0000u);
}

template <class In>
struct Octet;

template <>
struct Octet<__nv_bfloat16> {
  uint4 bits;
  __device__ void widen(float (&v)[8]) const {
    const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[2 * i] = bfloat16_low(words[i]);
      v[2 * i + 1] = bfloat16_high(words[i]);
    }
  }
};

template <>
struct Octet<__half> {
  uint4 bits;
  __device__ void widen(float (&v)[8]) const {
    const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair =
          __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
      v[2 * i] = pair.x;
      v[2 * i + 1] = pair.y;
    }
  }
};

template <>
struct Octet<float> {
  uint4 bits;
  uint4 more;
  __device__ void widen(float (&v)[8]) const {
    v[0] = __uint_as_float(bits.x), v[1] = __uint_as_float(bits.y);
    v[2] = __uint_as_float(bits.z), v[3] = __uint_as_float(bits.w);
    v[4] = __uint_as_float(more.x), v[5] = __uint_as_float(more.y);
    v[6] = __uint_as_float(more.z), v[7] = __uint_as_float(more.w);
  }
};

template <class In>
__device__ inline Octet<In> load_octet(const In* p) {
  Octet<In> octet;
  octet.bits = __ldcs(reinterpret_cast<const uint4*>(p));
  if constexpr (sizeof(In) == 4) {
    octet.more = __ldcs(reinterpret_cast<const uint4*>(p) + 1);
  }
  return octet;
}

__device__ inline unsigned pack_bfloat16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const unsigned*>(&pair);
}

__device__ inline void store_octet(__nv_bfloat16* p, const float (&v)[8]) {
  // Spelled out: the compiler splits the vector into words otherwise.
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(p),
               "r"(pack_bfloat16(v[0], v[1])), "r"(pack_bfloat16(v[2], v[3])),
               "r"(pack_bfloat16(v[4], v[5])), "r"(pack_bfloat16(v[6], v[7]))
               : "memory");
}

__device__ inline void store_octet(float* p, const float (&v)[8]) {
  reinterpret_cast<float4*>(p)[0] = make_float4(v[0], v[1], v[2], v[3]);
  reinterpret_cast<float4*>(p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

__device__ inline void store_octet(__half* p, const float (&v)[8]) {
  __half2 pairs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    pairs[i] = __floats2half2_rn(v[2 * i], v[2 * i + 1]);
  }
  *reinterpret_cast<uint4*>(p) = *reinterpret_cast<const uint4*>(pairs);
}

}  // namespace wush::kernels::cuda
