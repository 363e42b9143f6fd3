// Throughput of linears against unquantized ones, for the table and the figure
// `speedup`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/cells.h"

namespace wush {

// Speedups over `baseline` of one linear y[M, N] = x[M, K] W[N, K]^T.
struct Speedup {
  std::string model;
  std::string format;
  std::string device;
  std::string baseline;            // "bf16" on GPUs, "float32" on CPUs
  std::int64_t tokens = 0;         // M
  std::int64_t outputs = 0;        // N
  std::int64_t inputs = 0;         // K
  std::optional<double> matmul;    // the FP4 matmul alone
  std::optional<double> hadamard;  // with hadamard and quantization before it
  std::optional<double> wush;      // with wush and quantization before it
};

// The speedups that results hold (lib/throughput/throughput.h): seconds of the
// baseline over those of each path at the same shape, bf16 where there is one.
// Named in `notes` are shapes without a baseline, which are left out, and files
// whose buffers did not leave the cache.
std::vector<Speedup> read_speedups(const std::vector<StoredCell>& cells,
                                   std::vector<std::string>& notes);

// Figure 2 of the paper.
std::vector<Speedup> published_speedup_rows();

}  // namespace wush
