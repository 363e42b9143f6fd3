// Second moments of activations, H += X^T X ("the Hessian").
#pragma once

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

enum class HessianKernel : std::uint8_t {
  kAuto,
  kPortable,  // mma.sync, sm_80, any shape
  kHopper,    // wgmma, sm_90a, channels a multiple of 8
};

// h [channels, channels] float32, row-major: its lower half (column <= row),
// and nothing else, becomes h + x^T x for bfloat16 x [tokens, channels], with
// float32 accumulation by the matrix units over the tokens of the call.
// Subnormal values of h (below 1.2e-38) may become zeros.
//
// residual: null, or [channels, channels] float32, whose lower half takes what
// the addition to h rounded away (compensated mode): h + residual is the sum to
// about twice float32's precision over any number of calls. The tokens of a
// call are then added in chunks of kHessianChunk. Both start as zeros.
Status accumulate_hessian(HessianKernel kernel, const void* x,
                          std::int64_t tokens, std::int64_t channels, float* h,
                          float* residual, Stream stream);

inline constexpr std::int64_t kHessianChunk = 8192;

}  // namespace wush::kernels::cuda
