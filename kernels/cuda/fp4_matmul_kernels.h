// The kernels behind fp4_matmul; each launches or says why it cannot. Sizes are
// not zero and pointers are aligned.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <optional>

#include "kernels/cuda/fp4_matmul.h"

namespace wush::kernels::cuda {

struct MatmulProblem {
  Format format;
  std::int64_t tokens;    // rows of x
  std::int64_t features;  // rows of w
  std::int64_t cols;
  QuantizedMatrix x;
  QuantizedMatrix w;
  float constant;  // unit_x * unit_w
  MatmulOutput out;
  void* workspace;
  int multiprocessors;
  cudaStream_t stream;
};

// At most this many tokens are multiplied at once by the small kernel; more
// reread the weights.
inline constexpr int kSmallTokens = 32;

cudaError_t launch_small_matmul(const MatmulProblem& problem);
// What launch_small_matmul takes for one token: at least eight features, and
// columns that fit into shared memory as bytes.
inline bool can_matvec(const MatmulProblem& p) {
  return p.tokens == 1 && p.features >= 8 && p.cols % 32 == 0 &&
         p.cols <= 65536;
}
cudaError_t launch_matvec(const MatmulProblem& problem);
// What it takes for more tokens where cols is a multiple of 128, but not more
// than sixteen blocks' shared memory has room for (about 70000), and the device
// has clusters and some 200 KiB of shared memory for a block. False, and
// nothing launched, where it does not apply.
bool launch_few_matmul(const MatmulProblem& problem, cudaError_t* error);
// On sm_90a, by warpgroup instructions. Nothing, and nothing launched, where
// the columns are too many for the device's clusters and shared memory (with 17
// tokens or more on an H100: more than 36864, mxfp4 65536).
inline bool can_few_hopper_matmul(std::int64_t cols, int architecture) {
  return architecture == 90 && cols % 256 == 0;
}
// Measured on an H100 over the layers of figure 2: with 2 to 8 tokens 1.02 to
// 1.16 times as fast as launch_few_matmul if weights are settled (else 0.88 to
// 1.11 times), with 16 and 32 1.05 to 1.55 times; with 64 up to 1.4 times as
// fast as that one or launch_batch_matmul below 2^27 weights if columns are not
// too many. (Not chosen by whether weights are settled, which would change the
// order of sums.)
inline bool prefer_few_hopper_matmul(std::int64_t tokens, std::int64_t features,
                                     std::int64_t cols) {
  return tokens > kSmallTokens
             ? features * cols < std::int64_t{1} << 27 && cols <= 12288
             : tokens > 1;
}
std::optional<Status> launch_few_hopper_matmul(const MatmulProblem& problem);
// On sm_90a, where decoding the tokens in a kernel of its own and adding sums
// through memory pay. From 33 tokens on launch_few_matmul decodes the weights
// twice (64 tokens on an H100: as fast as this one up to 5120 x 5120, 1.03 to
// 1.77 times slower beyond). Needs a workspace.
inline bool can_batch_matmul(std::int64_t cols, int architecture) {
  return architecture == 90 && cols % 128 == 0;
}
inline bool prefer_batch_matmul(std::int64_t tokens, std::int64_t features,
                                std::int64_t cols) {
  const std::int64_t weights = features * cols;
  return tokens > kSmallTokens && weights >= std::int64_t{1} << 25;
}
std::int64_t batch_workspace(std::int64_t tokens, std::int64_t features,
                             std::int64_t cols, int multiprocessors);
cudaError_t launch_batch_matmul(const MatmulProblem& problem);
cudaError_t launch_portable_matmul(const MatmulProblem& problem);

// Tokens in a tile of the Hopper kernel for this problem: 128, 192 or 256.
int hopper_tile_tokens(std::int64_t tokens, std::int64_t features,
                       int multiprocessors);
std::int64_t hopper_workspace(std::int64_t tokens, std::int64_t cols,
                              int tile_tokens);
cudaError_t launch_hopper_matmul(const MatmulProblem& problem);

}  // namespace wush::kernels::cuda
