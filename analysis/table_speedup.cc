// Figure 2 as a table: speedup of a linear over an unquantized one.
#include "analysis/cells.h"
#include "analysis/published.h"
#include "analysis/speedup_data.h"
#include "analysis/tables.h"

namespace wush {
namespace {

constexpr NumberStyle kSpeedupStyle{NumberStyle::Kind::kFixed, 3, 1};

std::vector<Column> columns() {
  return {{"model", "model", Column::Align::kLeft},
          {"format", "format", Column::Align::kLeft},
          {"device", "device", Column::Align::kLeft},
          {"baseline", "over", Column::Align::kLeft},
          {"tokens", "M"},
          {"outputs", "N"},
          {"inputs", "K"},
          {"matmul", "matmul, ×"},
          {"hadamard", "hadamard + quantize + matmul, ×"},
          {"wush", "wush + quantize + matmul, ×"}};
}

Row make_row(const Speedup& speedup) {
  Row row{{speedup.model, speedup.format, speedup.device, speedup.baseline,
           speedup.tokens, speedup.outputs, speedup.inputs},
          speedup.model,
          false};
  for (const auto& value : {speedup.matmul, speedup.hadamard, speedup.wush}) {
    row.values.push_back(
        value ? Value{Number{*value, std::nullopt, kSpeedupStyle}} : Value{});
  }
  return row;
}

}  // namespace

Table make_speedup_table(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  Table table{"speedup", "Speedup of a linear over an unquantized one",
              columns(), {},
              set.notes, {}};
  Section own{"speedup", "Speedup", "results", {}};
  for (const Speedup& speedup : read_speedups(set.cells, table.notes)) {
    own.rows.push_back(make_row(speedup));
  }
  if (own.rows.empty()) {
    table.missing.push_back(
        "no throughput in these results; every row here is published.");
  } else {
    table.sections.push_back(std::move(own));
  }
  const std::string source = published_speedup_source();
  Section published{"published", source, source, {}};
  for (const Speedup& speedup : published_speedup_rows()) {
    published.rows.push_back(make_row(speedup));
  }
  table.sections.push_back(std::move(published));
  table.notes.push_back(
      "Published rows are not results of this program: " + source + ".");
  return table;
}

}  // namespace wush
