// Verification of what is going to be timed.
#pragma once

#include <string>

#include "lib/throughput/backend.h"
#include "lib/throughput/random_values.h"

namespace wush {

// Runs a path and compares a sample of at most 8 rows by 8 columns of its
// output with sums in double:
//   baseline  of the operands;
//   matmul    of the decoded operands; the activations' codes and scales have
//             to be those of the specification
//             (kernels/numerics/group_quantizer.h), bit for bit;
//   hadamard, wush
//             of the decoded operands, and the squared error of the decoded
//             activations against T x in double may exceed that of the
//             specification applied to T x by 1 %: where a kernel's rounding of
//             T x moves a value over a tie, both codes have the same error.
// Throws NumericalError that names the first difference.
void verify_path(ThroughputBackend& backend, const LinearProblem& problem,
                 const std::string& path, const RandomValues& values);

}  // namespace wush
