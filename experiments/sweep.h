// What `wush run` and `wush plan` share: an experiment with its inputs opened,
// its cells and their keys.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/commands.h"
#include "lib/experiment/cells.h"
#include "lib/experiment/config.h"
#include "lib/experiment/inputs.h"

namespace wush {

struct SweepOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string results = "results";
  std::string device = "cpu";
  std::string task;  // "i/n" or empty

  // Adds the command line options that fill it.
  void add_to(CLI::App& command);
};

struct Sweep {
  ExperimentConfig config;
  ExpandedSweep expanded;
  SweepInputs inputs;
  std::vector<std::string> keys;  // of expanded.cells
  TaskShare share;
};

// Reads and checks everything that the experiment names. Throws InputError.
Sweep open_sweep(const SweepOptions& options, ExperimentConfig config);

// RESULTS/NAME.d
std::filesystem::path sweep_folder(const SweepOptions& options,
                                   const ExperimentConfig& config);

}  // namespace wush
