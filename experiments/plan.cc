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
#include "lib/throughput/throughput.h"

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
  bool too_large;       // for the memory that is allowed
  std::int64_t memory;  // bytes, the whole process
  DiskUse disk;
  Work work;
};

DiskUse disk_use(const Sweep& sweep, std::size_t cell) {
  const CellSpec& spec = sweep.expanded.cells[cell];
  const Measures& measures = sweep.config.measures;
  if (sweep.backend) return predict_throughput_disk(*measures.throughput, spec);
  const ModelInputs& model = model_of(sweep, cell);
  return predict_disk(model.checkpoint.config(),
                      count_windows(sweep.config, model), measures, spec);
}

Work work(const Sweep& sweep, std::size_t cell) {
  const CellSpec& spec = sweep.expanded.cells[cell];
  const Measures& measures = sweep.config.measures;
  if (sweep.backend) {
    return {{"throughput", predict_throughput_work(
                               *sweep.backend, *measures.throughput, spec)}};
  }
  const ModelInputs& model = model_of(sweep, cell);
  return predict_work(model.checkpoint.config(),
                      count_windows(sweep.config, model), measures, spec);
}

std::vector<CellPlan> plan_cells(const Sweep& sweep,
                                 const std::set<std::string>& stored,
                                 std::int64_t memory) {
  std::vector<CellPlan> plans;
  for (std::size_t i = 0; i < sweep.keys.size(); ++i) {
    const CellSpec& cell = sweep.expanded.cells[i];
    CellPlan plan{cell_label(cell.parameters, sweep.config),
                  stored.contains(sweep.keys[i]) ? "stored"
                  : sweep.share.has(i)           ? "missing"
                                                 : "other task",
                  false,
                  predict_memory(sweep, i),
                  disk_use(sweep, i),
                  work(sweep, i)};
    plan.too_large = memory > 0 && plan.memory > memory;
    plans.push_back(std::move(plan));
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
    fmt::print("{:>5}  {:<{}}  {:<10} {:>10.0f} {:>9.0f} {:>9.1f} {:>9}{}\n",
               i + 1, plan.label, width, plan.state,
               static_cast<double>(plan.memory) / kMebibyte,
               static_cast<double>(plan.disk.result) / 1024,
               total(plan.work) / kGiga,
               format_duration(total(plan.work) / (rate * kGiga)),
               plan.too_large ? "  does not fit" : "");
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

void print_too_large(const std::vector<CellPlan>& plans, std::int64_t memory) {
  if (memory == 0) return;
  const auto count =
      std::count_if(plans.begin(), plans.end(),
                    [](const CellPlan& plan) { return plan.too_large; });
  fmt::print("{} of {} cells do not fit in {:.0f} MiB\n", count, plans.size(),
             static_cast<double>(memory) / kMebibyte);
}

ExitCode plan(const PlanOptions& options) {
  const Sweep sweep = open_sweep(
      options.sweep,
      load_experiment(options.sweep.config, options.sweep.overrides));
  const std::vector<std::string> keys =
      stored_keys(sweep_folder(options.sweep, sweep.config));
  const std::vector<CellPlan> plans =
      plan_cells(sweep, {keys.begin(), keys.end()}, options.sweep.memory);
  print_plans(plans, options.rate);
  for (std::size_t i = 0; i < sweep.expanded.excluded.size(); ++i) {
    fmt::print("exclude entry {}: {} cells\n", i + 1,
               sweep.expanded.excluded[i]);
  }
  print_totals(plans, options.rate);
  print_too_large(plans, options.sweep.memory);
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
