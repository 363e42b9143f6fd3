#include "analysis/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "analysis/figures.h"
#include "analysis/gnuplot.h"
#include "analysis/tables.h"
#include "lib/support/error.h"
#include "lib/support/io.h"

namespace wush {
namespace {

// The entry of that name, checked against what it needs.
template <class Info>
const Info& find_entry(const std::vector<Info>& registry, const char* kind,
                       std::string_view name, const AnalysisRequest& request) {
  std::vector<std::string> names;
  for (const Info& info : registry) {
    if (info.name == name) {
      if (info.needs_results && request.inputs.empty()) {
        throw InputError(fmt::format("{} {}", kind, name),
                         "expected at least one results file, found none");
      }
      return info;
    }
    names.push_back(info.name);
  }
  throw InputError(kind, fmt::format("expected one of {}, found \"{}\"",
                                     fmt::join(names, ", "), name));
}

}  // namespace

const std::vector<TableInfo>& table_registry() {
  static const std::vector<TableInfo> registry = {
      {"layers", "Table 1: layer loss by format, transform and linear", true,
       make_layers_table},
      {"accuracy", "Tables 2, 3 and 5: accuracies, average and recovery", false,
       make_accuracy_table},
      {"perplexity", "perplexity with standard errors and paired differences",
       true, make_perplexity_table},
      {"kl", "Table 4: KL divergence from the unquantized model", true,
       make_kl_table},
      {"cost", "Table 6: time per stage and peak memory", true,
       make_cost_table},
      {"storage", "Table 7: bits per weight and the transforms' share", false,
       make_storage_table},
      {"speedup",
       "Figure 2 as a table: speedup of a linear over an unquantized one",
       false, make_speedup_table},
  };
  return registry;
}

const std::vector<FigureInfo>& figure_registry() {
  static const std::vector<FigureInfo> registry = {
      {"toy", "Figure 1: transforms and the error of a 2-D quantizer", false,
       make_toy_figure},
      {"speedup", "Figure 2: speedup of a linear over an unquantized one",
       false, make_speedup_figure},
      {"marginals", "Figure 4: marginals of a rotated Gaussian", false,
       make_marginals_figure},
      {"equalization", "Figure 5: channels of a layer under each transform",
       true, make_equalization_figure},
      {"fp-model", "Figure 6: 1 + x against 2^x", false, make_fp_model_figure},
      {"layers", "Table 1 as bars", false, make_layers_figure},
      {"perplexity", "perplexity of every cell", true, make_perplexity_figure},
      {"lambda", "a sweep of kbbq's lambda", true, make_lambda_figure},
  };
  return registry;
}

Table make_table(std::string_view name, const AnalysisRequest& request) {
  return find_entry(table_registry(), "table", name, request).make(request);
}

void make_figure(std::string_view name, const AnalysisRequest& request,
                 const std::filesystem::path& output) {
  const FigureInfo& figure =
      find_entry(figure_registry(), "figure", name, request);
  // A wrong extension is refused before any work.
  const FigureKind kind = figure_kind(output);
  io::write_file_atomically(output, draw_plot(figure.make(request), kind));
}

}  // namespace wush
