// Throughput of linears against bf16, for the table and the figure `speedup`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/cells.h"

namespace wush {

// Speedups over bf16 of one linear y[M, N] = x[M, K] W[N, K]^T.
struct Speedup {
  std::string model;
  std::string format;
  std::string device;
  std::int64_t tokens = 0;         // M
  std::int64_t outputs = 0;        // N
  std::int64_t inputs = 0;         // K
  std::optional<double> matmul;    // the FP4 matmul alone
  std::optional<double> hadamard;  // with hadamard and quantization before it
  std::optional<double> wush;      // with wush and quantization before it
};

// Name of the table that a cell may hold, a row a measurement: columns tokens,
// outputs, inputs (int64), path ("bf16", "matmul", "hadamard" or "wush") and
// seconds (median); attribute device.
inline constexpr char kThroughputTable[] = "throughput";

// The speedups that results hold: seconds of bf16 over those of each path at
// the same shape. Shapes without a bf16 time are left out and named in `notes`.
std::vector<Speedup> read_speedups(const std::vector<StoredCell>& cells,
                                   std::vector<std::string>& notes);

// Figure 2 of the paper.
std::vector<Speedup> published_speedup_rows();

}  // namespace wush
