// Table 6: offline time per stage and peak memory of each run.
#include <fmt/format.h>

#include <set>

#include "analysis/cells.h"
#include "analysis/published.h"
#include "analysis/tables.h"

namespace wush {
namespace {

constexpr NumberStyle kSecondsStyle{NumberStyle::Kind::kSignificant, 3, 1};
constexpr NumberStyle kGigabytesStyle{NumberStyle::Kind::kFixed, 2, 1e-9};

std::vector<std::string> stage_names(const std::vector<StoredCell>& cells) {
  std::set<std::string> names;
  for (const StoredCell& cell : cells) {
    for (const auto& [stage, seconds] : cell.result.seconds) {
      names.insert(stage);
    }
  }
  return {names.begin(), names.end()};
}

// The description names the processor or GPU (its libraries follow after a
// semicolon), the device's name only its number.
Value device_name(const StoredCell& cell) {
  for (const char* key : {"device description", "device"}) {
    const auto device = cell.provenance.find(key);
    if (device != cell.provenance.end()) {
      return device->second.substr(0, device->second.find(';'));
    }
  }
  return {};
}

Row make_row(const StoredCell& cell, const ParameterColumns& parameters,
             const std::vector<std::string>& stages) {
  const CellResult& result = cell.result;
  Row row{parameters.values(result.parameters), result.parameters.model};
  row.values.push_back(device_name(cell));
  double total = 0;
  for (const std::string& stage : stages) {
    const auto seconds = result.seconds.find(stage);
    if (seconds == result.seconds.end()) {
      row.values.emplace_back();
    } else {
      total += seconds->second;
      row.values.emplace_back(
          Number{seconds->second, std::nullopt, kSecondsStyle});
    }
  }
  row.values.emplace_back(Number{total, std::nullopt, kSecondsStyle});
  row.values.emplace_back(Number{static_cast<double>(result.peak_memory_bytes),
                                 std::nullopt, kGigabytesStyle});
  return row;
}

Section published_section(const ParameterColumns& parameters,
                          std::size_t stages) {
  const PublishedTable published = published_costs();
  Section section{"published",
                  "Published: offline preprocessing of wush with rtn",
                  published.source,
                  {}};
  for (const PublishedRow& from : published.rows) {
    Row row{parameters.values(from.model, "", from.transform, from.method),
            "published"};
    row.values.emplace_back(from.format);
    row.values.resize(row.values.size() + stages);
    row.values.emplace_back(
        Number{*from.values[0] * 60, std::nullopt, kSecondsStyle});
    row.values.emplace_back(
        Number{*from.values[1] * 1e9, std::nullopt, kGigabytesStyle});
    section.rows.push_back(std::move(row));
  }
  return section;
}

}  // namespace

Table make_cost_table(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  const ParameterColumns parameters(set.cells);
  const std::vector<std::string> stages = stage_names(set.cells);
  Table table{"cost",
              "Offline time per stage and peak memory",
              parameters.columns(),
              {},
              set.notes,
              missing_cells(set)};
  table.columns.push_back({"device", "device", Column::Align::kLeft});
  for (const std::string& stage : stages) {
    table.columns.push_back({stage + "_seconds", stage + ", s"});
  }
  table.columns.push_back({"total_seconds", "total, s"});
  table.columns.push_back({"peak_memory_bytes", "peak memory, GB"});
  Section section{"cost", "", "results", {}};
  for (const StoredCell& cell : set.cells) {
    if (!cell.result.seconds.empty()) {
      section.rows.push_back(make_row(cell, parameters, stages));
    }
  }
  if (!section.rows.empty()) table.sections.push_back(std::move(section));
  const Section published = published_section(parameters, stages.size());
  table.notes.push_back("Published rows are not results of this program: " +
                        published.source + ", whole models on one GPU.");
  table.notes.push_back(
      "Stages are wall-clock seconds, the measurements among them; the peak is "
      "that of the process when the cell ended.");
  table.sections.push_back(published);
  for (std::string& note : record_notes(set.cells, parameters.options())) {
    table.notes.push_back(std::move(note));
  }
  return table;
}

}  // namespace wush
