// What one cell of a sweep is and holds. The pipeline fills it, the store keeps
// it, the analysis reads it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/results/table.h"

namespace wush {

// Names and options as a user wrote them (defaults filled in), in the order of
// the columns of a table. `options` holds every option of the cell by its YAML
// name, values in canonical text ("0.01", "marginal", "group"), and the
// parameters of a transform or method entry ("lambda" -> "0.75").
struct CellParameters {
  std::string model;      // name of the model in the experiment file
  std::string format;     // "none" for the unquantized model
  std::string transform;  // "identity" where format is "none"
  std::string method;     // "rtn", "gptq", ...; "none" where format is "none"
  std::map<std::string, std::string> options;
};

// Mean squared error of one linear's quantized output (paper table 1).
struct LayerLoss {
  int layer = 0;       // decoder block, from 0
  std::string linear;  // q_proj, k_proj, v_proj, o_proj, gate_proj, ...
  double mse = 0;      // mean over tokens, outputs (and repeats)
  double signal = 0;   // mean of (W x)^2 over tokens and outputs
  std::vector<double> repeats;  // one mse a repeat; size >= 1
};

// How one linear was quantized.
struct LinearRecord {
  int layer = 0;
  std::string linear;
  double damping = 0;            // relative damping that the factorization took
  int attempts = 0;              // 1 unless the damping had to be raised
  std::int64_t dead_blocks = 0;  // blocks whose moments are all zero
  std::string fallback;     // empty, or what was done instead of what was asked
  double weight_error = 0;  // ||Q T - W||^2_F / ||W||^2_F
};

// Perplexity, protocol "windows": non-overlapping windows of `length` tokens,
// mean over windows of the mean NLL of the length - 1 next-token targets.
struct Perplexity {
  std::int64_t length = 0;
  std::vector<double> window_nll;  // mean NLL of each window, nats
  double value = 0;                // exp(mean of window_nll)
  double standard_error = 0;       // value * stddev(window_nll) / sqrt(windows)
};

// Divergence from the unquantized model on the same windows.
struct Divergence {
  std::vector<double> window_kl;  // mean KL(p_fp || p_q) per window, nats
  std::vector<double> window_agreement;  // share of tokens with equal argmax
  double kl = 0;
  double kl_standard_error = 0;
  double agreement = 0;
};

enum class CellStatus { kDone, kFailed };

struct CellResult {
  CellParameters parameters;
  CellStatus status = CellStatus::kDone;
  std::string error;  // why it failed, empty when done
  std::vector<LayerLoss> layer_loss;
  std::vector<LinearRecord> linears;
  std::optional<Perplexity> perplexity;
  std::optional<Divergence> divergence;
  std::map<std::string, DataTable>
      tables;  // measurements of other kinds, by name
  // Provenance: these may differ between runs of the same cell.
  std::map<std::string, double> seconds;  // stage -> wall-clock seconds
  std::int64_t peak_memory_bytes = 0;     // of the process when the cell ended
};

}  // namespace wush
