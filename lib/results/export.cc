// Cells as JSON, CSV and markdown.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "lib/results/reader.h"
#include "lib/support/error.h"

namespace wush {
namespace {

using Json = nlohmann::ordered_json;

// The metrics of a cell by their names in JSON and CSV, in a fixed order.
std::vector<std::pair<std::string, double>> metrics(const CellResult& cell) {
  std::vector<std::pair<std::string, double>> list;
  if (cell.perplexity) {
    list.emplace_back("perplexity", cell.perplexity->value);
    list.emplace_back("perplexity_stderr", cell.perplexity->standard_error);
  }
  if (cell.divergence) {
    list.emplace_back("kl", cell.divergence->kl);
    list.emplace_back("kl_stderr", cell.divergence->kl_standard_error);
    list.emplace_back("agreement", cell.divergence->agreement);
  }
  return list;
}

const char* status_name(const CellResult& cell) {
  return cell.status == CellStatus::kDone ? "done" : "failed";
}

// Linears for which something else was done than asked.
std::ptrdiff_t fallback_count(const CellResult& cell) {
  return std::count_if(
      cell.linears.begin(), cell.linears.end(),
      [](const LinearRecord& linear) { return !linear.fallback.empty(); });
}

Json layer_loss_json(const std::vector<LayerLoss>& rows) {
  Json list = Json::array();
  for (const LayerLoss& row : rows) {
    Json entry = {{"layer", row.layer},
                  {"linear", row.linear},
                  {"mse", row.mse},
                  {"signal", row.signal}};
    if (row.repeats.size() > 1) entry["repeats"] = row.repeats;
    list.push_back(std::move(entry));
  }
  return list;
}

Json linears_json(const std::vector<LinearRecord>& rows) {
  Json list = Json::array();
  for (const LinearRecord& row : rows) {
    list.push_back({{"layer", row.layer},
                    {"linear", row.linear},
                    {"damping", row.damping},
                    {"attempts", row.attempts},
                    {"dead_blocks", row.dead_blocks},
                    {"fallback", row.fallback},
                    {"weight_error", row.weight_error}});
  }
  return list;
}

Json tables_json(const std::map<std::string, DataTable>& tables) {
  Json all = Json::object();
  for (const auto& [name, table] : tables) {
    Json& entry = all[name] = Json::object();
    for (const auto& [attribute, value] : table.attributes) {
      Json& target = entry[attribute];
      std::visit([&](const auto& item) { target = item; }, value);
    }
    for (const DataColumn& column : table.columns) {
      std::visit([&](const auto& list) { entry[column.name] = list; },
                 column.values);
    }
  }
  return all;
}

Json cell_json(const StoredCell& stored) {
  const CellResult& cell = stored.result;
  Json json = {{"key", stored.key},
               {"model", cell.parameters.model},
               {"format", cell.parameters.format},
               {"transform", cell.parameters.transform},
               {"method", cell.parameters.method},
               {"options", cell.parameters.options},
               {"status", status_name(cell)}};
  if (!cell.error.empty()) json["error"] = cell.error;
  json["metrics"] = Json::object();
  for (const auto& [name, value] : metrics(cell)) json["metrics"][name] = value;
  json["layer_loss"] = layer_loss_json(cell.layer_loss);
  json["linears"] = linears_json(cell.linears);
  if (!cell.tables.empty()) json["tables"] = tables_json(cell.tables);
  return json;
}

// A grid of text under a header; every row has the header's columns.
using Fields = std::vector<std::pair<std::string, std::string>>;

struct Grid {
  std::vector<std::string> header;
  std::vector<std::map<std::string, std::string>> rows;
};

Grid make_grid(const std::vector<Fields>& cells) {
  Grid grid;
  std::set<std::string> known;
  for (const Fields& fields : cells) {
    std::map<std::string, std::string>& row = grid.rows.emplace_back();
    for (const auto& [name, value] : fields) {
      if (known.insert(name).second) grid.header.push_back(name);
      row[name] = value;
    }
  }
  return grid;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

// The shortest text that reads back to the same bits.
std::string exact(double value) { return fmt::format("{}", value); }

// Options that any of the cells has, so that columns do not depend on which
// cell comes first.
std::set<std::string> option_names(const std::vector<StoredCell>& cells) {
  std::set<std::string> names;
  for (const StoredCell& cell : cells) {
    for (const auto& [name, value] : cell.result.parameters.options) {
      names.insert(name);
    }
  }
  return names;
}

Fields parameter_fields(const CellResult& cell,
                        const std::set<std::string>& options) {
  Fields fields = {{"model", cell.parameters.model},
                   {"format", cell.parameters.format},
                   {"transform", cell.parameters.transform},
                   {"method", cell.parameters.method}};
  for (const std::string& name : options) {
    const auto found = cell.parameters.options.find(name);
    fields.emplace_back(
        name, found == cell.parameters.options.end() ? "" : found->second);
  }
  return fields;
}

void append_layer_loss(const CellResult& cell, Fields& fields) {
  for (const LayerLoss& row : cell.layer_loss) {
    const std::string place = fmt::format("{}.{}", row.layer, row.linear);
    fields.emplace_back("mse " + place, exact(row.mse));
    fields.emplace_back("signal " + place, exact(row.signal));
  }
}

// A markdown cell holds one line and no bar of its own.
std::string markdown_field(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' || c == '\r' ? ' ' : c;
  }
  return out;
}

// Options whose value is not the same in every cell.
std::set<std::string> varying_options(const std::vector<StoredCell>& cells) {
  std::set<std::string> varying;
  for (const std::string& name : option_names(cells)) {
    std::set<std::string> values;
    for (const StoredCell& cell : cells) {
      const auto& options = cell.result.parameters.options;
      const auto found = options.find(name);
      values.insert(found == options.end() ? "" : found->second);
    }
    if (values.size() > 1) varying.insert(name);
  }
  return varying;
}

std::string with_error(double value, double error) {
  return fmt::format("{:.5g} ± {:.2g}", value, error);
}

Fields markdown_fields(const CellResult& cell,
                       const std::set<std::string>& options) {
  Fields fields = parameter_fields(cell, options);
  if (cell.perplexity) {
    fields.emplace_back(
        "perplexity",
        with_error(cell.perplexity->value, cell.perplexity->standard_error));
  }
  if (cell.divergence) {
    fields.emplace_back(
        "kl (nats/token)",
        with_error(cell.divergence->kl, cell.divergence->kl_standard_error));
    fields.emplace_back("agreement",
                        fmt::format("{:.4f}", cell.divergence->agreement));
  }
  if (!cell.layer_loss.empty()) {
    fields.emplace_back("layer losses",
                        fmt::format("{}", cell.layer_loss.size()));
  }
  if (fallback_count(cell) > 0) {
    fields.emplace_back("fallbacks", fmt::format("{}", fallback_count(cell)));
  }
  if (cell.status == CellStatus::kFailed) {
    fields.emplace_back("error", cell.error);
  }
  return fields;
}

}  // namespace

std::string cells_to_json(const std::vector<StoredCell>& cells) {
  Json list = Json::array();
  for (const StoredCell& cell : cells) list.push_back(cell_json(cell));
  return list.dump(2) + "\n";
}

std::string cells_to_csv(const std::vector<StoredCell>& cells) {
  const std::set<std::string> options = option_names(cells);
  std::vector<Fields> rows;
  for (const StoredCell& stored : cells) {
    const CellResult& cell = stored.result;
    Fields fields = {{"key", stored.key}};
    for (auto& field : parameter_fields(cell, options)) {
      fields.push_back(std::move(field));
    }
    fields.emplace_back("status", status_name(cell));
    fields.emplace_back("error", cell.error);
    fields.emplace_back("fallbacks", fmt::format("{}", fallback_count(cell)));
    for (const auto& [name, value] : metrics(cell)) {
      fields.emplace_back(name, exact(value));
    }
    append_layer_loss(cell, fields);
    rows.push_back(std::move(fields));
  }
  const Grid grid = make_grid(rows);
  std::string text;
  const auto append_line = [&](const auto& field_of) {
    for (std::size_t i = 0; i < grid.header.size(); ++i) {
      if (i > 0) text += ',';
      text += csv_field(field_of(grid.header[i]));
    }
    text += '\n';
  };
  append_line([](const std::string& name) { return name; });
  for (const auto& row : grid.rows) {
    append_line([&](const std::string& name) {
      const auto found = row.find(name);
      return found == row.end() ? std::string() : found->second;
    });
  }
  return text;
}

std::string cells_to_markdown(const std::vector<StoredCell>& cells) {
  const std::set<std::string> options = varying_options(cells);
  std::vector<Fields> rows;
  for (const StoredCell& cell : cells) {
    rows.push_back(markdown_fields(cell.result, options));
  }
  const Grid grid = make_grid(rows);
  std::string text = "|";
  for (const std::string& name : grid.header) {
    text += fmt::format(" {} |", markdown_field(name));
  }
  text += "\n|";
  for (std::size_t i = 0; i < grid.header.size(); ++i) text += "---|";
  for (const auto& row : grid.rows) {
    text += "\n|";
    for (const std::string& name : grid.header) {
      const auto found = row.find(name);
      const bool empty = found == row.end() || found->second.empty();
      text += fmt::format(" {} |", empty ? "–" : markdown_field(found->second));
    }
  }
  return text + "\n";
}

}  // namespace wush
