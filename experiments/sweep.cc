#include "experiments/sweep.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace wush {

void SweepOptions::add_to(CLI::App& command) {
  command.add_option("config", config, "The experiment file")
      ->required()
      ->type_name("CONFIG.yaml");
  command
      .add_option("--set", overrides,
                  "Replaces a value of the experiment file: a.b=value, the "
                  "value in YAML")
      ->type_name("a.b=value")
      ->allow_extra_args(false);
  command.add_option("--results", results, "Folder of the results")
      ->type_name("DIR")
      ->capture_default_str();
  command.add_option("--device", device, "cpu or cuda:N")
      ->type_name("NAME")
      ->capture_default_str();
  command
      .add_option("--task", task,
                  "Only this share of the cells, 1/4 to 4/4 for four processes "
                  "(each with a results folder of its own; see wush merge)")
      ->type_name("i/n");
}

Sweep open_sweep(const SweepOptions& options, ExperimentConfig config) {
  Sweep sweep;
  if (!options.task.empty()) sweep.share = parse_task(options.task);
  sweep.config = std::move(config);
  sweep.expanded = expand_cells(sweep.config);
  sweep.inputs = load_inputs(sweep.config);
  for (const auto& [role, note] : sweep.inputs.notes) {
    fmt::print(stderr, "{}: {}\n", role, note);
  }
  sweep.keys = cell_keys(sweep.config, sweep.expanded.cells,
                         sweep.inputs.digests, numeric_mode(options.device));
  return sweep;
}

std::filesystem::path sweep_folder(const SweepOptions& options,
                                   const ExperimentConfig& config) {
  return std::filesystem::path(options.results) / (config.name + ".d");
}

}  // namespace wush
