#include "analysis/speedup_data.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "analysis/published.h"
#include "lib/results/table.h"

namespace wush {
namespace {

using Shape = std::array<std::int64_t, 3>;  // tokens, outputs, inputs
using Seconds = std::map<std::string, double>;

template <class T>
const std::vector<T>* column(const DataTable& table, const char* name) {
  const DataColumn* found = table.find(name);
  return found == nullptr ? nullptr
                          : std::get_if<std::vector<T>>(&found->values);
}

std::map<Shape, Seconds> read_times(const DataTable& table) {
  std::map<Shape, Seconds> times;
  const auto* tokens = column<std::int64_t>(table, "tokens");
  const auto* outputs = column<std::int64_t>(table, "outputs");
  const auto* inputs = column<std::int64_t>(table, "inputs");
  const auto* path = column<std::string>(table, "path");
  const auto* seconds = column<double>(table, "seconds");
  if (!tokens || !outputs || !inputs || !path || !seconds) return times;
  for (std::size_t i = 0; i < path->size(); ++i) {
    const Shape shape = {(*tokens)[i], (*outputs)[i], (*inputs)[i]};
    times[shape][(*path)[i]] = (*seconds)[i];
  }
  return times;
}

std::optional<double> ratio(const Seconds& seconds, const char* path) {
  const auto found = seconds.find(path);
  if (found == seconds.end() || found->second <= 0) return std::nullopt;
  return seconds.at("bf16") / found->second;
}

std::string device_of(const StoredCell& cell, const DataTable& table) {
  const auto attribute = table.attributes.find("device");
  if (attribute != table.attributes.end()) {
    if (const auto* text = std::get_if<std::string>(&attribute->second)) {
      return *text;
    }
  }
  const auto device = cell.provenance.find("device");
  return device == cell.provenance.end() ? "" : device->second;
}

}  // namespace

std::vector<Speedup> read_speedups(const std::vector<StoredCell>& cells,
                                   std::vector<std::string>& notes) {
  std::vector<Speedup> speedups;
  for (const StoredCell& cell : cells) {
    const auto table = cell.result.tables.find(kThroughputTable);
    if (table == cell.result.tables.end()) continue;
    const std::string device = device_of(cell, table->second);
    for (const auto& [shape, seconds] : read_times(table->second)) {
      const auto& [tokens, outputs, inputs] = shape;
      if (!seconds.contains("bf16")) {
        notes.push_back(fmt::format(
            "{}: no bf16 time at M = {}, N = {}, K = {}.",
            cell_label(cell.result.parameters, {}), tokens, outputs, inputs));
        continue;
      }
      speedups.push_back({cell.result.parameters.model,
                          cell.result.parameters.format, device, tokens,
                          outputs, inputs, ratio(seconds, "matmul"),
                          ratio(seconds, "hadamard"), ratio(seconds, "wush")});
    }
  }
  return speedups;
}

std::vector<Speedup> published_speedup_rows() {
  std::vector<Speedup> rows;
  for (const PublishedSpeedup& from : published_speedups()) {
    rows.push_back({from.model, "mxfp4", "RTX 5090", 1024, from.outputs,
                    from.inputs, from.matmul, from.hadamard, from.wush});
  }
  return rows;
}

}  // namespace wush
