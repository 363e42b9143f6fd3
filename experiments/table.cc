// wush table: one table.

#include "analysis/table.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "analysis/registry.h"
#include "experiments/analysis_options.h"
#include "experiments/commands.h"

namespace wush {
namespace {

struct TableOptions {
  std::string name;
  std::string format = "markdown";
  RequestOptions request;
};

ExitCode table(const TableOptions& options) {
  const TableFormat format = parse_table_format(options.format);
  fmt::print("{}", render(make_table(options.name, options.request.request()),
                          format));
  return ExitCode::kDone;
}

}  // namespace

void add_table(CLI::App& program, Action& action) {
  CLI::App* command =
      program.add_subcommand("table", "One table of the paper, or of a sweep");
  const auto options = std::make_shared<TableOptions>();
  command->add_option("name", options->name, "Which table (listed below)")
      ->required()
      ->type_name("NAME");
  options->request.add_to(*command);
  command
      ->add_option("--format", options->format, "markdown, latex, csv or json")
      ->type_name("NAME")
      ->capture_default_str();
  command->footer("Tables:" + list_entries(table_registry()) +
                  "\n\nExample:\n  wush table perplexity results/demo.h5 "
                  "--format latex");
  command->callback(
      [options, &action] { action = [options] { return table(*options); }; });
}

}  // namespace wush
