// Compiled once for each instruction set; see kernels/cpu/block_transform.h.
#include "kernels/cpu/block_transform.h"

#include <cmath>
#include <cstdint>

#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/vector.h"

namespace wush::kernels::WUSH_ISA {
namespace {

using V = Vector<float>;
using Float = V::Float;

#if defined(WUSH_ISA_AVX512)
constexpr int kRows = 8;  // 8 x 2 accumulators of 32 registers
#else
constexpr int kRows = 4;  // 4 x 2 accumulators of 16 registers
#endif

// Outputs j .. j + vectors * kLanes - 1 of `rows` rows. Each output has one
// accumulator that runs over k in order, whatever the tile.
template <int rows, int vectors>
void apply_tile(const float* x, std::int64_t x_stride, std::int64_t block,
                const float* t, float* y, std::int64_t y_stride) {
  Float sum[rows][vectors];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) sum[r][v] = V::broadcast(0);
  }
  for (std::int64_t k = 0; k < block; ++k) {
    Float column[vectors];
    for (int v = 0; v < vectors; ++v) {
      column[v] = V::load(t + k * block + v * V::kLanes);
    }
    for (int r = 0; r < rows; ++r) {
      const Float value = V::broadcast(x[r * x_stride + k]);
      for (int v = 0; v < vectors; ++v) {
        sum[r][v] = V::multiply_add(value, column[v], sum[r][v]);
      }
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      V::store(y + r * y_stride + v * V::kLanes, sum[r][v]);
    }
  }
}

// One output of one row, in the arithmetic of a lane of apply_tile.
float apply_one(const float* x, std::int64_t block, const float* t) {
  Float sum = V::broadcast(0);
  for (std::int64_t k = 0; k < block; ++k) {
    sum = V::multiply_add(V::broadcast(x[k]), V::broadcast(t[k * block]), sum);
  }
  float lanes[V::kLanes];
  V::store(lanes, sum);
  return lanes[0];
}

template <int rows>
void apply_rows(const float* x, std::int64_t x_stride, std::int64_t block,
                const float* t, float* y, std::int64_t y_stride) {
  std::int64_t j = 0;
  for (; j + 2 * V::kLanes <= block; j += 2 * V::kLanes) {
    apply_tile<rows, 2>(x, x_stride, block, t + j, y + j, y_stride);
  }
  for (; j + V::kLanes <= block; j += V::kLanes) {
    apply_tile<rows, 1>(x, x_stride, block, t + j, y + j, y_stride);
  }
  for (; j < block; ++j) {
    for (int r = 0; r < rows; ++r) {
      y[r * y_stride + j] = apply_one(x + r * x_stride, block, t + j);
    }
  }
}

void apply(const float* x, std::int64_t rows, std::int64_t block,
           std::int64_t x_stride, const float* t, float* y,
           std::int64_t y_stride) {
  std::int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    apply_rows<kRows>(x + r * x_stride, x_stride, block, t, y + r * y_stride,
                      y_stride);
  }
  for (; r < rows; ++r) {
    apply_rows<1>(x + r * x_stride, x_stride, block, t, y + r * y_stride,
                  y_stride);
  }
}

// The step of the butterfly between lanes i and i ^ s: a + b where bit s of the
// lane is clear, a - b where it is set (a product with -1 or 1 is exact).
template <int s>
Float butterfly_in_lanes(Float v) {
  float signs[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) signs[i] = (i & s) != 0 ? -1.0f : 1.0f;
  return V::multiply_add(v, V::load(signs), V::template exchange<s>(v));
}

template <int s = 1>
Float butterflies_in_lanes(Float v) {
  if constexpr (s < V::kLanes) {
    return butterflies_in_lanes<2 * s>(butterfly_in_lanes<s>(v));
  } else {
    return v;
  }
}

// A block of `vectors` registers, strides ascending.
template <int vectors>
void hadamard_registers(float* x, Float norm) {
  Float v[vectors];
  for (int i = 0; i < vectors; ++i) {
    v[i] = butterflies_in_lanes(V::load(x + i * V::kLanes));
  }
  for (int stride = 1; stride < vectors; stride *= 2) {
    for (int i = 0; i < vectors; ++i) {
      if ((i & stride) != 0) continue;
      const Float a = v[i], b = v[i + stride];
      v[i] = V::add(a, b);
      v[i + stride] = V::sub(a, b);
    }
  }
  for (int i = 0; i < vectors; ++i) {
    V::store(x + i * V::kLanes, V::mul(v[i], norm));
  }
}

// A block of more registers than there are, in memory.
void hadamard_memory(float* x, std::int64_t block, Float norm) {
  for (std::int64_t i = 0; i < block; i += V::kLanes) {
    V::store(x + i, butterflies_in_lanes(V::load(x + i)));
  }
  for (std::int64_t stride = V::kLanes; stride < block; stride *= 2) {
    for (std::int64_t i = 0; i < block; i += 2 * stride) {
      for (std::int64_t j = i; j < i + stride; j += V::kLanes) {
        const Float a = V::load(x + j), b = V::load(x + j + stride);
        V::store(x + j, V::add(a, b));
        V::store(x + j + stride, V::sub(a, b));
      }
    }
  }
  for (std::int64_t i = 0; i < block; i += V::kLanes) {
    V::store(x + i, V::mul(V::load(x + i), norm));
  }
}

void hadamard_block(float* x, std::int64_t block, Float norm) {
  switch (block / V::kLanes) {
    case 1:
      return hadamard_registers<1>(x, norm);
    case 2:
      return hadamard_registers<2>(x, norm);
    case 4:
      return hadamard_registers<4>(x, norm);
    case 8:
      return hadamard_registers<8>(x, norm);
    default:
      return hadamard_memory(x, block, norm);
  }
}

// Blocks shorter than a vector.
void hadamard_small_block(float* x, std::int64_t block, float norm) {
  for (std::int64_t stride = 1; stride < block; stride *= 2) {
    for (std::int64_t i = 0; i < block; ++i) {
      if ((i & stride) != 0) continue;
      const float a = x[i], b = x[i + stride];
      x[i] = a + b;
      x[i + stride] = a - b;
    }
  }
  for (std::int64_t i = 0; i < block; ++i) x[i] *= norm;
}

void hadamard(float* x, std::int64_t rows, std::int64_t blocks,
              std::int64_t block, std::int64_t stride) {
  const auto norm =
      static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < blocks; ++i) {
      float* values = x + r * stride + i * block;
      if (block < V::kLanes) {
        hadamard_small_block(values, block, norm);
      } else {
        hadamard_block(values, block, V::broadcast(norm));
      }
    }
  }
}

}  // namespace

const TransformKernels kTransformKernels = {apply, hadamard};

}  // namespace wush::kernels::WUSH_ISA
