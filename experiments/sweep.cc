#include "experiments/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "lib/pipeline/footprint.h"
#include "lib/throughput/throughput.h"

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
      .add_option("--threads", threads,
                  "Threads on the CPU; 0: all. No result but times depends on "
                  "it")
      ->check(CLI::Range(0, 4096))
      ->type_name("N")
      ->capture_default_str();
  command
      .add_option("--task", task,
                  "Only this share of the cells, 1/4 to 4/4 for four processes "
                  "(each with a results folder of its own; see wush merge)")
      ->type_name("i/n");
  command
      .add_option("--memory", memory,
                  "Memory that a cell may take, 500M or 8G; run refuses cells "
                  "that are predicted to take more, plan marks them")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber)
      ->type_name("BYTES");
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
  if (sweep.config.measures.throughput) {
    sweep.backend = make_throughput_backend(options.device, options.threads);
  }
  const std::string mode = sweep.backend ? throughput_mode(*sweep.backend)
                                         : numeric_mode(options.device);
  sweep.keys =
      cell_keys(sweep.config, sweep.expanded.cells, sweep.inputs.digests, mode);
  return sweep;
}

const ModelInputs& model_of(const Sweep& sweep, std::size_t cell) {
  const std::string& name = sweep.expanded.cells[cell].parameters.model;
  const auto found = std::find_if(
      sweep.inputs.models.begin(), sweep.inputs.models.end(),
      [&](const ModelInputs& model) { return model.name == name; });
  WUSH_CHECK(found != sweep.inputs.models.end(), "model {}", name);
  return *found;
}

WindowCounts count_windows(const ExperimentConfig& config,
                           const ModelInputs& model) {
  WindowCounts counts;
  counts.calibration = static_cast<std::int64_t>(model.calibration.size());
  counts.calibration_length =
      config.calibration ? config.calibration->length : 0;
  counts.evaluation = static_cast<std::int64_t>(model.evaluation.size());
  counts.evaluation_length = config.evaluation.length;
  return counts;
}

std::int64_t predict_memory(const Sweep& sweep, std::size_t cell) {
  if (sweep.backend) {
    return predict_throughput_bytes(*sweep.backend,
                                    *sweep.config.measures.throughput,
                                    sweep.expanded.cells[cell]);
  }
  const ModelInputs& model = model_of(sweep, cell);
  return predict_memory(model.checkpoint.config(),
                        count_windows(sweep.config, model),
                        sweep.config.measures, sweep.expanded.cells[cell]);
}

std::filesystem::path sweep_folder(const SweepOptions& options,
                                   const ExperimentConfig& config) {
  return std::filesystem::path(options.results) / (config.name + ".d");
}

}  // namespace wush
