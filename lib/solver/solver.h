// Quantizing the weights of one linear under a transform.
#pragma once

#include <cstdint>
#include <string>

#include "lib/device/device.h"
#include "lib/quantize/options.h"
#include "lib/solver/hessian.h"
#include "lib/solver/registry.h"
#include "lib/transform/fitted_transform.h"
#include "lib/transform/transform.h"

namespace wush {

struct LinearProblem {
  MatrixView<const float> weight;    // [out, in], on the device
  const Hessian* hessian = nullptr;  // of the inputs, `in` channels
  const Transform* transform = nullptr;
  numerics::Format format = numerics::Format::kMxfp4;
  std::int64_t width =
      0;  // K, channels of a transform; a multiple of the group
  QuantizationOptions options;
  std::uint64_t stream = 0;  // random stream of this linear
  std::string label;         // "layer 3, q_proj", for errors and records
};

struct QuantizedWeights {
  PackedMatrix weights;  // Q(W T^-1) [out, in]
  FittedTransform transform;
  double damping = 0;  // relative damping that was used
  int attempts = 0;    // 1 unless the damping had to be raised
  std::int64_t dead_blocks = 0;
  std::string fallback;
  double weight_error = 0;  // ||Q T - W||^2_F / ||W||^2_F
};

// Which errors are carried on, and in which order columns are quantized. The
// solvers are settings of one algorithm; the laws between them are tests.
struct Feedback {
  bool inner = false;  // among the columns of a transform's block
  bool outer = false;  // from block to block
  ColumnOrder order = ColumnOrder::kAscending;
};

// Quantizes block by block (WUSH, algorithms 1 and 2). Let Sigma be the damped
// Hessian and e_j = Q_j T_j - W_j the error of block j in the original space.
// GPTQ minimizes tr(e Sigma e^T) greedily from the first block to the last:
// with Sigma = V^T V, V lower triangular, the terms are ||sum_{j<=i} e_j
// V_ij^T||, so block i is rounded around
//   W_i - (sum_{j<i} e_j V_ij^T) V_ii^-T,
// inside the block around the same expression of its columns with the block's
// Hessian H_i = T_i V_ii^T V_ii T_i^T. This is algorithm 2 (there L = V^-T)
// with the sum kept instead of the weights, so that Sigma is never inverted.
// Babai's nearest plane is the mirror image with Sigma = C C^T, last block
// first.
//
// Raises the damping tenfold, twice at the most, where a factorization fails,
// always from the pristine Hessian. Then throws NumericalError, or, if
// options.solver_fallback, rounds to nearest and says so in `fallback`.
QuantizedWeights solve_linear(Device& device, const LinearProblem& problem,
                              SolverKind kind);
QuantizedWeights solve_linear(Device& device, const LinearProblem& problem,
                              const Feedback& feedback);

}  // namespace wush
