// wush merge: one results file from the folders of several runs.

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "experiments/commands.h"
#include "experiments/provenance.h"
#include "lib/results/store.h"

namespace wush {
namespace {

struct MergeOptions {
  std::vector<std::string> folders;
  std::string output;
};

ExitCode merge(const MergeOptions& options) {
  const MergeCount count = merge_folders(
      {options.folders.begin(), options.folders.end()}, options.output,
      make_provenance(),
      [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
  fmt::print("{} of {} cells: {}\n", count.written, count.planned,
             options.output);
  return ExitCode::kDone;
}

}  // namespace

void add_merge(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "merge", "Join the NAME.d folders of runs of one experiment");
  const auto options = std::make_shared<MergeOptions>();
  command->add_option("folders", options->folders, "Folders of runs")
      ->required()
      ->type_name("NAME.d...");
  command
      ->add_option("-o,--output", options->output, "The results file to write")
      ->required()
      ->type_name("FILE.h5");
  command->footer(
      "Example:\n  wush merge first/demo.d second/demo.d -o results/demo.h5");
  command->callback(
      [options, &action] { action = [options] { return merge(*options); }; });
}

}  // namespace wush
