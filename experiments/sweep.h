// What `wush run` and `wush plan` share: an experiment with its inputs opened,
// its cells and their keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "experiments/commands.h"
#include "lib/experiment/cells.h"
#include "lib/experiment/config.h"
#include "lib/experiment/inputs.h"
#include "lib/experiment/plan.h"
#include "lib/throughput/backend.h"

namespace wush {

struct SweepOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string results = "results";
  std::string device = "cpu";
  int threads = 0;          // of the CPU; 0: all
  std::string task;         // "i/n" or empty
  std::int64_t memory = 0;  // bytes that the process may take; 0: any amount

  // Adds the command line options that fill it.
  void add_to(CLI::App& command);
};

struct Sweep {
  ExperimentConfig config;
  ExpandedSweep expanded;
  SweepInputs inputs;
  std::vector<std::string> keys;  // of expanded.cells
  TaskShare share;
  // What is timed where throughput is measured, else null.
  std::unique_ptr<ThroughputBackend> backend;
};

// Reads and checks everything that the experiment names. Throws InputError, and
// DeviceError where throughput is measured on a device that is not there.
Sweep open_sweep(const SweepOptions& options, ExperimentConfig config);

// The inputs of the model that a cell is of.
const ModelInputs& model_of(const Sweep& sweep, std::size_t cell);

// Windows of the sweep's texts for a model.
WindowCounts count_windows(const ExperimentConfig& config,
                           const ModelInputs& model);

// Peak memory of a run of this cell in bytes (lib/pipeline/footprint.h); of a
// throughput cell, the buffers on its device.
std::int64_t predict_memory(const Sweep& sweep, std::size_t cell);

// RESULTS/NAME.d
std::filesystem::path sweep_folder(const SweepOptions& options,
                                   const ExperimentConfig& config);

}  // namespace wush
