// wush cells: every cell of a results file.

#include <fmt/format.h>

#include <memory>
#include <string>

#include "experiments/commands.h"
#include "lib/results/reader.h"

namespace wush {
namespace {

struct CellsOptions {
  std::string results;
  std::string format = "markdown";
};

ExitCode cells(const CellsOptions& options) {
  const std::vector<StoredCell> stored = read_results(options.results).cells;
  fmt::print("{}", options.format == "json"  ? cells_to_json(stored)
                   : options.format == "csv" ? cells_to_csv(stored)
                                             : cells_to_markdown(stored));
  return ExitCode::kDone;
}

}  // namespace

void add_cells(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "cells", "Every cell with its parameters and metrics");
  const auto options = std::make_shared<CellsOptions>();
  command
      ->add_option("results", options->results,
                   "A results file, or the folder of a run")
      ->required()
      ->type_name("NAME.h5");
  command->add_option("--format", options->format, "json, csv or markdown")
      ->check(CLI::IsMember({"json", "csv", "markdown"}))
      ->type_name("NAME")
      ->capture_default_str();
  command->footer("Example:\n  wush cells results/demo.h5 --format json");
  command->callback(
      [options, &action] { action = [options] { return cells(*options); }; });
}

}  // namespace wush
