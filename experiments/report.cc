// wush report: one page with everything that results allow.

#include <fmt/format.h>

#include <memory>

#include "analysis/registry.h"
#include "experiments/analysis_options.h"
#include "experiments/commands.h"

namespace wush {
namespace {

struct ReportOptions {
  std::string output;
  RequestOptions request;
};

ExitCode report(const ReportOptions& options) {
  fmt::print("{}\n",
             write_report(options.request.request(), options.output).string());
  return ExitCode::kDone;
}

}  // namespace

void add_report(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "report", "One page with all tables and figures of some results");
  const auto options = std::make_shared<ReportOptions>();
  options->request.add_to(*command);
  command->get_option("results")->required();
  command->get_option("results")->required();
  command
      ->add_option("-o,--output", options->output,
                   "The folder to write index.html to")
      ->required()
      ->type_name("FOLDER");
  command->footer("Example:\n  wush report results/demo.h5 -o report");
  command->callback(
      [options, &action] { action = [options] { return report(*options); }; });
}

}  // namespace wush
