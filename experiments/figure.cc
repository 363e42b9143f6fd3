// wush figure: one figure.

#include <fmt/format.h>

#include <memory>
#include <string>

#include "analysis/registry.h"
#include "experiments/analysis_options.h"
#include "experiments/commands.h"

namespace wush {
namespace {

struct FigureOptions {
  std::string name;
  std::string output;
  RequestOptions request;
};

ExitCode figure(const FigureOptions& options) {
  make_figure(options.name, options.request.request(), options.output);
  fmt::print("{}\n", options.output);
  return ExitCode::kDone;
}

}  // namespace

void add_figure(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("figure", "One figure");
  const auto options = std::make_shared<FigureOptions>();
  command->add_option("name", options->name, "Which figure (listed below)")
      ->required()
      ->type_name("NAME");
  options->request.add_to(*command);
  command
      ->add_option("-o,--output", options->output,
                   "The file to write: .svg, .png or .pdf")
      ->required()
      ->type_name("FILE");
  command->footer("Figures:" + list_entries(figure_registry()) +
                  "\n\nExample:\n  wush figure marginals -o marginals.svg");
  command->callback(
      [options, &action] { action = [options] { return figure(*options); }; });
}

}  // namespace wush
