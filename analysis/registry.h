// The tables, figures and the report, by the name a user types.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/table.h"

namespace wush {

// What a table or figure is made from.
struct AnalysisRequest {
  // Results files or folders (NAME.h5, NAME.d), read in this order. The table
  // `storage` takes config.json files or checkpoint folders instead.
  std::vector<std::filesystem::path> inputs;
  // Cell that paired differences are taken against, as overrides of each cell:
  // "transform=hadamard,method=rtn", "format=none", "lambda=1". Empty: the
  // table's own default, which it names.
  std::string baseline;
  // Also show published rows that are about other models than the results'.
  bool published = false;
};

struct TableInfo {
  std::string name;
  std::string description;  // one line, for --help
  bool needs_results;       // false: can be made without any input
  Table (*make)(const AnalysisRequest&);
};

struct Plot;  // analysis/gnuplot.h

struct FigureInfo {
  std::string name;
  std::string description;
  bool needs_results;
  Plot (*make)(const AnalysisRequest&);
};

const std::vector<TableInfo>& table_registry();
const std::vector<FigureInfo>& figure_registry();

// Makes one table. Throws InputError when there is no table of that name (with
// the valid names), when it needs results and `inputs` is empty, or when an
// input cannot be read (other schema version, truncated, not results).
Table make_table(std::string_view name, const AnalysisRequest& request);

// Draws one figure; the extension of `output` (.svg, .png or .pdf) chooses the
// kind. The file is complete or not there. Throws InputError as make_table()
// does, when the extension is none of the three, when gnuplot is not installed
// (naming the package) or when the results hold nothing to draw.
void make_figure(std::string_view name, const AnalysisRequest& request,
                 const std::filesystem::path& output);

// Writes `folder`/index.html: one self-contained page with the configuration
// and provenance of each results file, all tables and figures that the results
// allow, and what is missing. Creates the folder. Returns the page's path.
std::filesystem::path write_report(const AnalysisRequest& request,
                                   const std::filesystem::path& folder);

}  // namespace wush
