// wush plan: what a sweep is and what it will cost; runs nothing.

#include "lib/experiment/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "experiments/commands.h"
#include "experiments/display.h"
#include "experiments/sweep.h"
#include "lib/pipeline/footprint.h"
#include "lib/results/store.h"

namespace wush {
namespace {

constexpr double kGiga = 1e9;
constexpr double kMebibyte = 1 << 20;

struct PlanOptions {
  SweepOptions sweep;
  double rate = 50;
};

// One line of the plan.
struct CellPlan {
  std::string label;
  const char* state;
  std::int64_t memory;  // bytes, the whole process
  DiskUse disk;
  Work work;
};

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

std::vector<CellPlan> plan_cells(const Sweep& sweep,
                                 const std::set<std::string>& stored) {
  std::vector<CellPlan> plans;
  for (std::size_t i = 0; i < sweep.keys.size(); ++i) {
    const CellSpec& cell = sweep.expanded.cells[i];
    const auto model = std::find_if(
        sweep.inputs.models.begin(), sweep.inputs.models.end(),
        [&](const auto& m) { return m.name == cell.parameters.model; });
    WUSH_CHECK(model != sweep.inputs.models.end(), "model {}",
               cell.parameters.model);
    const ModelConfig& config = model->checkpoint.config();
    const Measures& measures = sweep.config.measures;
    const WindowCounts windows = count_windows(sweep.config, *model);
    plans.push_back({cell_label(cell.parameters, sweep.config),
                     stored.contains(sweep.keys[i]) ? "stored"
                     : sweep.share.has(i)           ? "missing"
                                                    : "other task",
                     predict_memory(config, windows, measures, cell),
                     predict_disk(config, windows, measures, cell),
                     predict_work(config, windows, measures, cell)});
  }
  return plans;
}

void print_plans(const std::vector<CellPlan>& plans, double rate) {
  std::size_t width = 4;
  for (const CellPlan& plan : plans) width = std::max(width, plan.label.size());
  fmt::print("{:>5}  {:<{}}  {:<10} {:>10} {:>9} {:>9} {:>9}\n", "", "cell",
             width, "state", "memory MiB", "disk KiB", "GFLOP", "time");
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const CellPlan& plan = plans[i];
    fmt::print("{:>5}  {:<{}}  {:<10} {:>10.0f} {:>9.0f} {:>9.1f} {:>9}\n",
               i + 1, plan.label, width, plan.state,
               static_cast<double>(plan.memory) / kMebibyte,
               static_cast<double>(plan.disk.result) / 1024,
               total(plan.work) / kGiga,
               format_duration(total(plan.work) / (rate * kGiga)));
  }
}

// Sums over the cells that are still to be computed.
void print_totals(const std::vector<CellPlan>& plans, double rate) {
  std::int64_t memory = 0;
  std::int64_t disk = 0;
  std::int64_t partial = 0;
  Work work;
  std::size_t missing = 0;
  for (const CellPlan& plan : plans) {
    disk += 2 * plan.disk.result;  // in NAME.d and in NAME.h5
    if (plan.state != std::string("missing")) continue;
    ++missing;
    memory = std::max(memory, plan.memory);
    partial = std::max(partial, plan.disk.partial);
    for (const auto& [stage, operations] : plan.work) work[stage] += operations;
  }
  fmt::print("\n{} of {} cells are missing\n", missing, plans.size());
  fmt::print("peak memory  {:.0f} MiB\n",
             static_cast<double>(memory) / kMebibyte);
  fmt::print("disk         {:.1f} MiB, and {:.1f} MiB while a long cell runs\n",
             static_cast<double>(disk) / kMebibyte,
             static_cast<double>(partial) / kMebibyte);
  fmt::print("work         {:.1f} GFLOP, {} at {} GFLOP/s\n",
             total(work) / kGiga, format_duration(total(work) / (rate * kGiga)),
             rate);
  for (const auto& [stage, operations] : work) {
    fmt::print("  {:<10} {:.1f} GFLOP\n", stage, operations / kGiga);
  }
}

ExitCode plan(const PlanOptions& options) {
  const Sweep sweep = open_sweep(
      options.sweep,
      load_experiment(options.sweep.config, options.sweep.overrides));
  const std::vector<std::string> keys =
      stored_keys(sweep_folder(options.sweep, sweep.config));
  const std::vector<CellPlan> plans =
      plan_cells(sweep, {keys.begin(), keys.end()});
  print_plans(plans, options.rate);
  for (std::size_t i = 0; i < sweep.expanded.excluded.size(); ++i) {
    fmt::print("exclude entry {}: {} cells\n", i + 1,
               sweep.expanded.excluded[i]);
  }
  print_totals(plans, options.rate);
  return ExitCode::kDone;
}

}  // namespace

void add_plan(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "plan", "Cells, their state, predicted memory, disk and work");
  const auto options = std::make_shared<PlanOptions>();
  options->sweep.add_to(*command);
  command
      ->add_option("--rate", options->rate,
                   "GFLOP/s that the times are predicted at")
      ->check(CLI::PositiveNumber)
      ->type_name("GFLOP/s")
      ->capture_default_str();
  command->footer("Example:\n  wush plan configs/demo.yaml --rate 100");
  command->callback(
      [options, &action] { action = [options] { return plan(*options); }; });
}

}  // namespace wush
