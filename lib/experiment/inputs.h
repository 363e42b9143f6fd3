// What a sweep reads, opened and checked before any work starts, and what tells
// its cells apart from those of other sweeps.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/checkpoint/checkpoint.h"
#include "lib/experiment/cell_spec.h"
#include "lib/experiment/config.h"

namespace wush {

// One model of a sweep with the texts as its tokens.
struct ModelInputs {
  std::string name;
  Checkpoint checkpoint;
  std::vector<std::vector<std::int32_t>> calibration;  // windows of tokens
  std::vector<std::vector<std::int32_t>> evaluation;
};

struct SweepInputs {
  std::vector<ModelInputs> models;  // in the order of the experiment
  // SHA-256 of everything read: "checkpoint nano", "tokenizer nano",
  // "calibration", "evaluation".
  std::map<std::string, std::string> digests;
  // What was done to a text that its reader would not expect, by its role.
  std::map<std::string, std::string> notes;
};

// Opens the checkpoints, cuts the texts into windows and computes the digests.
// Throws InputError when a checkpoint or text is malformed, a text is too
// short, or a measured layer is not one of a model's.
SweepInputs load_inputs(const ExperimentConfig& config);

// What beside its parameters can change a cell's numbers: digests, windows,
// measurements and `numeric_mode`. The unquantized model does not depend on the
// calibration, nor on the measurements of quantized cells.
std::map<std::string, std::string> cell_inputs(
    const ExperimentConfig& config, const CellSpec& cell,
    const std::map<std::string, std::string>& digests,
    const std::string& numeric_mode);

// Names the arithmetic of a device ("cpu", "cuda:1"): results of different
// modes need not agree bit for bit. Changes with every release that changes
// numbers.
std::string numeric_mode(const std::string& device);

// Keys of cells, in their order (lib/results/store.h).
std::vector<std::string> cell_keys(
    const ExperimentConfig& config, const std::vector<CellSpec>& cells,
    const std::map<std::string, std::string>& digests,
    const std::string& numeric_mode);

}  // namespace wush
