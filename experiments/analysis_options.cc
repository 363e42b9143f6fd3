#include "experiments/analysis_options.h"

namespace wush {

void RequestOptions::add_to(CLI::App& command) {
  command.add_option("results", results, "Results files, or folders of runs")
      ->type_name("RESULTS...");
  command
      .add_option("--baseline", baseline,
                  "Cell that paired differences are taken against")
      ->type_name("transform=hadamard,...");
  command.add_flag("--published", published,
                   "Also published rows that are about other models");
}

AnalysisRequest RequestOptions::request() const {
  return {{results.begin(), results.end()}, baseline, published};
}

}  // namespace wush
