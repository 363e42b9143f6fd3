// FP4 matrix products in Blackwell's own block-scaled instructions. They have
// been compiled and their machine code checked, but never been run: no such
// device was at hand.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/fp4_matmul_kernels.h"

namespace wush::kernels::cuda {

// sm_120a: mma.sync.m16n8k64 with kind::mxf4 (mxfp4) or kind::mxf4nvf4 (nvfp4),
// block_scale. tokens and features any, cols a multiple of 64.
cudaError_t launch_sm120_matmul(const MatmulProblem& problem);

// sm_100a: tcgen05.mma with kind::mxf4 (mxfp4) or kind::mxf4nvf4 (nvfp4),
// block_scale. tokens and features any, cols a multiple of 32.
Status launch_sm100_matmul(const MatmulProblem& problem);

}  // namespace wush::kernels::cuda
