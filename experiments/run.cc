// wush run: computes what is missing of a sweep.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "experiments/commands.h"
#include "experiments/display.h"
#include "experiments/provenance.h"
#include "experiments/sweep.h"
#include "lib/device/device.h"
#include "lib/pipeline/session.h"
#include "lib/results/store.h"
#include "lib/support/interrupt.h"
#include "lib/support/lock.h"
#include "lib/throughput/throughput.h"

namespace wush {
namespace {

// A long cell saves its state this often, after a decoder block.
constexpr double kSaveSeconds = 60;

struct RunOptions {
  SweepOptions sweep;
  bool quiet = false;
  bool verbose = false;

  Verbosity verbosity() const {
    if (quiet) return Verbosity::kQuiet;
    return verbose ? Verbosity::kVerbose : Verbosity::kNormal;
  }
};

// Says at once that another run holds the results, before inputs are read.
void check_not_held(const std::filesystem::path& folder) {
  const auto lock = folder / "LOCK";
  std::error_code status;
  if (std::filesystem::exists(lock, status)) DirectoryLock{lock};
}

// Refuses, before anything is written, what the memory allowed will not do for.
void check_memory(const SweepOptions& options, const Sweep& sweep) {
  if (options.memory == 0) return;
  const std::vector<std::string> stored =
      stored_keys(sweep_folder(options, sweep.config));
  std::int64_t largest = 0;
  std::size_t cell = 0;
  for (std::size_t i = 0; i < sweep.keys.size(); ++i) {
    if (!sweep.share.has(i) ||
        std::binary_search(stored.begin(), stored.end(), sweep.keys[i])) {
      continue;
    }
    const std::int64_t memory = predict_memory(sweep, i);
    if (memory <= largest) continue;
    largest = memory;
    cell = i;
  }
  if (largest <= options.memory) return;
  constexpr double kMebibyte = 1 << 20;
  throw OutOfMemoryError(fmt::format(
      "cell {}: expected to need at most the {:.0f} MiB of --memory, found "
      "{:.0f} MiB predicted (see wush plan)",
      cell_label(sweep.expanded.cells[cell].parameters, sweep.config),
      static_cast<double>(options.memory) / kMebibyte,
      static_cast<double>(largest) / kMebibyte));
}

// Computes cells of a sweep, keeping what the cells of one model share.
class SweepRunner {
 public:
  // `device` may be null where throughput is measured.
  SweepRunner(Device* device, Sweep& sweep, ResultStore& store,
              Display& display)
      : device_(device), sweep_(sweep), store_(store), display_(display) {}

  void run(std::size_t cell) {
    const CellSpec& spec = sweep_.expanded.cells[cell];
    const std::string& key = sweep_.keys[cell];
    display_.begin_cell(cell_label(spec.parameters, sweep_.config));
    const CellResult result = compute(spec, key);
    store_.put(key, result);
    display_.end_cell(result);
  }

 private:
  CellResult compute(const CellSpec& spec, const std::string& key) {
    if (sweep_.backend) {
      return measure_throughput(
          *sweep_.backend, *sweep_.config.measures.throughput, spec, display_);
    }
    ModelSession& session = session_for(spec.parameters.model);
    const BlockCheckpoint partial = store_.block_checkpoint(key);
    return session.run_cell(spec, &partial, kSaveSeconds);
  }

  ModelSession& session_for(const std::string& model) {
    if (model == model_) return *session_;
    session_.reset();  // before the next one takes its memory
    const auto found = std::find_if(
        sweep_.inputs.models.begin(), sweep_.inputs.models.end(),
        [&](const ModelInputs& inputs) { return inputs.name == model; });
    WUSH_CHECK(found != sweep_.inputs.models.end(), "model {}", model);
    session_.emplace(
        *device_, found->checkpoint,
        SessionInputs{std::move(found->calibration),
                      std::move(found->evaluation), sweep_.config.measures},
        display_);
    model_ = model;
    return *session_;
  }

  Device* device_;
  Sweep& sweep_;
  ResultStore& store_;
  Display& display_;
  std::string model_;
  std::optional<ModelSession> session_;
};

// Everything about a cell that a reader of its numbers has to know.
std::vector<std::string> remarks(const CellResult& result) {
  std::vector<std::string> lines;
  if (result.status == CellStatus::kFailed) {
    lines.push_back("failed: " + result.error);
  }
  std::size_t raised = 0;
  double damping = 0;
  std::map<std::string, std::size_t> fallbacks;
  for (const LinearRecord& record : result.linears) {
    if (record.attempts > 1) {
      ++raised;
      damping = std::max(damping, record.damping);
    }
    if (!record.fallback.empty()) ++fallbacks[record.fallback];
  }
  if (raised > 0) {
    lines.push_back(fmt::format("damping raised for {} linears, up to {}",
                                raised, damping));
  }
  for (const auto& [what, count] : fallbacks) {
    lines.push_back(fmt::format("fallback for {} linears: {}", count, what));
  }
  return lines;
}

// Prints what is stored and what readers have to know of it.
ExitCode report(const Sweep& sweep, const ResultStore& store) {
  std::size_t failed = 0;
  std::size_t finished = 0;
  for (std::size_t i = 0; i < sweep.keys.size(); ++i) {
    const std::optional<CellResult> result = store.get(sweep.keys[i]);
    if (!result) continue;
    ++finished;
    if (result->status == CellStatus::kFailed) ++failed;
    for (const std::string& line : remarks(*result)) {
      fmt::print("{}: {}\n",
                 cell_label(sweep.expanded.cells[i].parameters, sweep.config),
                 line);
    }
  }
  fmt::print("{} of {} cells stored, {} failed: {}\n", finished,
             sweep.keys.size(), failed, store.merged_file().string());
  return failed > 0 ? ExitCode::kCellsFailed : ExitCode::kDone;
}

ExitCode run(const RunOptions& options) {
  ExperimentConfig config =
      load_experiment(options.sweep.config, options.sweep.overrides);
  std::unique_ptr<Device> device;
  if (!config.measures.throughput) {
    device = make_device(options.sweep.device, options.sweep.threads);
  }
  check_not_held(sweep_folder(options.sweep, config));
  Sweep sweep = open_sweep(options.sweep, std::move(config));
  check_memory(options.sweep, sweep);
  install_interrupt_handlers();
  ResultStore store(
      options.sweep.results,
      {sweep.config.name, resolved_yaml(sweep.config), sweep.inputs.digests,
       sweep.keys},
      make_provenance(
          device ? device->name() : sweep.backend->name(),
          device ? device->description() : sweep.backend->description(),
          options.sweep.threads, sweep.inputs),
      [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < sweep.keys.size(); ++i) {
    if (sweep.share.has(i) && !store.finished(sweep.keys[i])) {
      missing.push_back(i);
    }
  }
  {
    Display display(missing.size(), options.verbosity());
    SweepRunner runner(device.get(), sweep, store, display);
    for (const std::size_t cell : missing) {
      if (interrupted()) throw Interrupted();
      runner.run(cell);
    }
  }
  store.merge();
  return report(sweep, store);
}

}  // namespace

void add_run(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "run", "Run every missing cell of a sweep; safe to interrupt and repeat");
  const auto options = std::make_shared<RunOptions>();
  options->sweep.add_to(*command);
  CLI::Option* quiet =
      command->add_flag("--quiet", options->quiet, "Only failures and notes");
  command->add_flag("--verbose", options->verbose, "Also every step of a cell")
      ->excludes(quiet);
  command->footer(
      "Example:\n  wush run configs/demo.yaml --set "
      "'sweep.transform=[hadamard, wush]' --results results");
  command->callback(
      [options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace wush
