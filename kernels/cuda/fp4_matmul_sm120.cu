// sm_120a: both operands go to the tensor cores as they are packed, with their
// scales (mma.sync ... block_scale). A block of four warps computes 64 tokens
// by 64 features, each warp 32 by 32; neighbours meet in the first-level cache.
#include "kernels/cuda/fp4_matmul_blackwell.h"
#include "kernels/cuda/fp4_operands.cuh"
#include "kernels/cuda/fp4_output.cuh"
#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kStep = 64;  // columns of one instruction

// d += a b with a [16, 64] e2m1 row-major, b [64, 8] e2m1 column-major and
// their scales. Lane (g, t) holds in a[0..3] the eight codes of rows g, g + 8,
// g, g + 8 from columns 8t, 8t, 8t + 32, 8t + 32 on, in b[0..1] those of column
// g from rows 8t and 8t + 32 on. Scales along 64 columns: lanes t = 0 and 1
// give those of rows g and g + 8 of a, lane t = 0 those of column g of b.
template <Family F>
__device__ inline void multiply_scaled(float (&d)[4], const unsigned (&a)[4],
                                       const unsigned (&b)[2],
                                       unsigned a_scales, unsigned b_scales) {
  constexpr std::uint16_t kFirst = 0;
  if constexpr (F == Family::kE4m3) {
    asm volatile(
        "mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X"
        ".m16n8k64.row.col.f32.e2m1.e2m1.f32.ue4m3 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}, "
        "{%10}, {%11,%11}, {%12}, {%11,%11};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
          "r"(a_scales), "h"(kFirst), "r"(b_scales));
  } else {
    asm volatile(
        "mma.sync.aligned.kind::mxf4.block_scale.scale_vec::2X"
        ".m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}, "
        "{%10}, {%11,%11}, {%12}, {%11,%11};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
          "r"(a_scales), "h"(kFirst), "r"(b_scales));
  }
}

template <Family F>
struct PackedRows {
  OperandRows<F> m;

  // Eight codes of a row from `column` on; zeros outside.
  __device__ unsigned codes(std::int64_t row, std::int64_t column) const {
    if (row >= m.rows) return 0;
    return __ldg(reinterpret_cast<const unsigned*>(
        m.codes + (row * m.cols + column) / 2));
  }
  // The scales of 64 columns: two bytes, or four of nvfp4.
  __device__ unsigned scales(std::int64_t row, std::int64_t column) const {
    if (row >= m.rows) return 0;
    const auto* p = static_cast<const std::uint8_t*>(m.scales) +
                    (row * m.cols + column) / group_of(F);
    if constexpr (F == Family::kE4m3) {
      return __ldg(reinterpret_cast<const unsigned*>(p));
    } else {
      return __ldg(reinterpret_cast<const std::uint16_t*>(p));
    }
  }
};

template <Family F>
__global__ __launch_bounds__(128) void block_scaled_matmul_kernel(
    PackedRows<F> x, PackedRows<F> w, MmaOutput out) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int g = lane >> 2, t = lane & 3;
  const std::int64_t token = blockIdx.y * std::int64_t{kTile} + warp / 2 * 32;
  const std::int64_t feature = blockIdx.x * std::int64_t{kTile} + warp % 2 * 32;
  float sums[2][4][4] = {};
  for (std::int64_t k = 0; k < x.m.cols; k += kStep) {
    unsigned a[2][4], a_scales[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const std::int64_t row = token + 16 * i + g;
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        a[i][r] = x.codes(row + 8 * (r & 1), k + 8 * t + 32 * (r >> 1));
      }
      a_scales[i] = x.scales(row + 8 * (t & 1), k);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const std::int64_t row = feature + 8 * j + g;
      const unsigned b[2] = {w.codes(row, k + 8 * t),
                             w.codes(row, k + 8 * t + 32)};
      const unsigned b_scales = w.scales(row, k);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        multiply_scaled<F>(sums[i][j], a[i], b, a_scales[i], b_scales);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const std::int64_t m = token + 16 * i + g + 8 * (r >> 1);
        const std::int64_t n = feature + 8 * j + 2 * t + (r & 1);
        if (m >= x.m.rows || n >= w.m.rows) continue;
        out.store(m, n, w.m.rows, sums[i][j][r]);
      }
    }
  }
}

template <Family F>
cudaError_t launch(const MatmulProblem& p) {
  const dim3 grid(static_cast<unsigned>(ceil_div(p.features, kTile)),
                  static_cast<unsigned>(ceil_div(p.tokens, kTile)));
  block_scaled_matmul_kernel<F><<<grid, 128, 0, p.stream>>>(
      {{p.x.codes, p.x.scales, p.tokens, p.cols}},
      {{p.w.codes, p.w.scales, p.features, p.cols}}, make_output(p));
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_sm120_matmul(const MatmulProblem& problem) {
  return problem.format == Format::kNvfp4
             ? launch<Family::kE4m3>(problem)
             : launch<Family::kPowerOfTwo>(problem);
}

}  // namespace wush::kernels::cuda
