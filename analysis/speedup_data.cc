#include "analysis/speedup_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "analysis/published.h"
#include "lib/experiment/throughput_measure.h"
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

std::optional<double> ratio(const Seconds& seconds, const std::string& baseline,
                            const char* path) {
  const auto found = seconds.find(path);
  if (found == seconds.end() || found->second <= 0) return std::nullopt;
  return seconds.at(baseline) / found->second;
}

// What everything else is compared with; empty when it was not timed.
std::string baseline_of(const Seconds& seconds) {
  for (const char* path : {"bf16", "float32"}) {
    if (seconds.contains(path)) return path;
  }
  return "";
}

// Rows whose buffers all fit into the cache: faster than weights that come from
// memory would be.
void note_cached(const StoredCell& cell, const DataTable& table,
                 std::vector<std::string>& notes) {
  const auto* bytes = column<std::int64_t>(table, "rotation_bytes");
  const auto cache = table.attributes.find("cache_bytes");
  if (bytes == nullptr || cache == table.attributes.end()) return;
  const auto* size = std::get_if<std::int64_t>(&cache->second);
  if (size == nullptr) return;
  const auto cached = std::count_if(bytes->begin(), bytes->end(),
                                    [&](auto value) { return value < *size; });
  if (cached == 0) return;
  notes.push_back(fmt::format(
      "{}: {} of {} rows were timed on buffers that fit into the cache of {} "
      "MiB.",
      cell_label(cell.result.parameters, {}), cached, bytes->size(),
      *size >> 20));
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
    if (is_reference(cell)) continue;  // nothing to compare
    note_cached(cell, table->second, notes);
    const std::string device = device_of(cell, table->second);
    for (const auto& [shape, seconds] : read_times(table->second)) {
      const auto& [tokens, outputs, inputs] = shape;
      const std::string baseline = baseline_of(seconds);
      if (baseline.empty()) {
        notes.push_back(fmt::format(
            "{}: no bf16 time at M = {}, N = {}, K = {}, nor one of float32.",
            cell_label(cell.result.parameters, {}), tokens, outputs, inputs));
        continue;
      }
      speedups.push_back({cell.result.parameters.model,
                          cell.result.parameters.format, device, baseline,
                          tokens, outputs, inputs,
                          ratio(seconds, baseline, "matmul"),
                          ratio(seconds, baseline, "hadamard"),
                          ratio(seconds, baseline, "wush")});
    }
  }
  return speedups;
}

std::vector<Speedup> published_speedup_rows() {
  std::vector<Speedup> rows;
  for (const PublishedSpeedup& from : published_speedups()) {
    rows.push_back({from.model, "mxfp4", "RTX 5090", "bf16", 1024, from.outputs,
                    from.inputs, from.matmul, from.hadamard, from.wush});
  }
  return rows;
}

}  // namespace wush
