#include "lib/results/record.h"

#include <array>
#include <limits>
#include <utility>

#include "lib/support/error.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

// HDF5 keeps an attribute in the object header, where a message has to stay
// below 64 KiB.
constexpr std::size_t kMaxAttributeBytes = 60000;

constexpr std::array<std::string_view, 6> kCellAttributes = {
    "model", "format", "transform", "method", "status", "error"};
constexpr std::array<std::string_view, 6> kKnownTables = {
    "layer_loss", "layer_loss_repeats", "linears", "perplexity",
    "kl",         kProvenanceTable};

template <typename List>
bool contains(const List& list, std::string_view name) {
  for (const std::string_view entry : list) {
    if (entry == name) return true;
  }
  return false;
}

// ---- From a cell to its record.

template <typename Row, typename Value>
DataColumn column(std::string name, std::string unit,
                  const std::vector<Row>& rows, Value Row::*member) {
  using Stored =
      std::conditional_t<std::is_same_v<Value, int>, std::int64_t, Value>;
  std::vector<Stored> values;
  values.reserve(rows.size());
  for (const Row& row : rows) values.push_back(row.*member);
  return {std::move(name), std::move(unit), std::move(values)};
}

void add_layer_loss(const std::vector<LayerLoss>& rows, Record& record) {
  if (rows.empty()) return;
  record.tables["layer_loss"].columns = {
      column("layer", "", rows, &LayerLoss::layer),
      column("linear", "", rows, &LayerLoss::linear),
      column("mse", "output^2", rows, &LayerLoss::mse),
      column("signal", "output^2", rows, &LayerLoss::signal)};
  std::vector<std::int64_t> entries;
  std::vector<double> values;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const double value : rows[i].repeats) {
      entries.push_back(static_cast<std::int64_t>(i));
      values.push_back(value);
    }
  }
  record.tables["layer_loss_repeats"].columns = {
      {"row", "", std::move(entries)}, {"mse", "output^2", std::move(values)}};
}

void add_linears(const std::vector<LinearRecord>& rows, Record& record) {
  if (rows.empty()) return;
  record.tables["linears"].columns = {
      column("layer", "", rows, &LinearRecord::layer),
      column("linear", "", rows, &LinearRecord::linear),
      column("damping", "mean of the diagonal", rows, &LinearRecord::damping),
      column("attempts", "", rows, &LinearRecord::attempts),
      column("dead_blocks", "blocks", rows, &LinearRecord::dead_blocks),
      column("fallback", "", rows, &LinearRecord::fallback),
      column("weight_error", "relative", rows, &LinearRecord::weight_error)};
}

void add_perplexity(const Perplexity& perplexity, Record& record) {
  DataTable& table = record.tables["perplexity"];
  table.attributes = {{"length", perplexity.length},
                      {"value", perplexity.value},
                      {"standard_error", perplexity.standard_error}};
  table.columns = {{"window_nll", "nats/token", perplexity.window_nll}};
}

void add_divergence(const Divergence& divergence, Record& record) {
  DataTable& table = record.tables["kl"];
  table.attributes = {{"kl", divergence.kl},
                      {"kl_standard_error", divergence.kl_standard_error},
                      {"agreement", divergence.agreement}};
  table.columns = {
      {"window_kl", "nats/token", divergence.window_kl},
      {"window_agreement", "share of tokens", divergence.window_agreement}};
}

void add_provenance(const CellResult& cell,
                    const std::map<std::string, std::string>& provenance,
                    Record& record) {
  DataTable& table = record.tables[std::string(kProvenanceTable)];
  for (const auto& [name, text] : provenance) table.attributes[name] = text;
  table.attributes["peak_memory_bytes"] = cell.peak_memory_bytes;
  std::vector<std::string> stages;
  std::vector<double> seconds;
  for (const auto& [stage, value] : cell.seconds) {
    stages.push_back(stage);
    seconds.push_back(value);
  }
  table.columns = {{"stage", "", std::move(stages)},
                   {"seconds", "s", std::move(seconds)}};
}

// ---- What can be stored.

void require(bool condition, std::string_view what) {
  if (!condition) {
    throw StorageError(fmt::format("a cell cannot be stored: {}", what));
  }
}

void require_name(std::string_view name) {
  require(!name.empty() && name != "." && name.size() <= 255 &&
              name.find_first_of(std::string_view("/\0", 2)) ==
                  std::string_view::npos &&
              !first_invalid_utf8(name),
          fmt::format("\"{}\" is no name", printable(name)));
}

void require_text(std::string_view name, std::string_view text) {
  require(
      text.find('\0') == std::string_view::npos && !first_invalid_utf8(text),
      fmt::format("\"{}\" is not UTF-8 text without NUL: \"{}\"", name,
                  printable(text)));
}

void require_attributes(const std::map<std::string, DataValue>& attributes) {
  for (const auto& [name, value] : attributes) {
    require_name(name);
    const std::string* text = std::get_if<std::string>(&value);
    if (text == nullptr) continue;
    require_text(name, *text);
    require(text->size() <= kMaxAttributeBytes,
            fmt::format("\"{}\" has {} bytes, expected at most {}", name,
                        text->size(), kMaxAttributeBytes));
  }
}

void require_storable(const Record& record) {
  require_attributes(record.attributes);
  for (const auto& [name, table] : record.tables) {
    require_name(name);
    require_attributes(table.attributes);
    for (const DataColumn& entry : table.columns) {
      require_name(entry.name);
      require_text("unit", entry.unit);
      require(column_size(entry.values) == table.rows(),
              fmt::format("the columns of \"{}\" differ in length", name));
      require(table.find(entry.name) == &entry,
              fmt::format("\"{}\" has two columns called \"{}\"", name,
                          entry.name));
      if (const auto* texts =
              std::get_if<std::vector<std::string>>(&entry.values)) {
        for (const std::string& text : *texts) require_text(entry.name, text);
      }
    }
  }
}

// ---- From a record to its cell.

// Takes named parts out of a table and refuses what is left or amiss.
class TableReader {
 public:
  TableReader(const DataTable& table, std::string where)
      : table_(table), where_(std::move(where)) {}

  template <typename Value>
  const std::vector<Value>& column(std::string_view name) {
    const DataColumn* found = table_.find(name);
    const auto* values = found == nullptr
                             ? nullptr
                             : std::get_if<std::vector<Value>>(&found->values);
    if (values == nullptr) {
      throw InputError(
          fmt::format("{}/{}", where_, name),
          fmt::format("expected a column of {}, found {}", type_name<Value>(),
                      found == nullptr ? "none" : "another type"));
    }
    ++columns_taken_;
    return *values;
  }

  template <typename Value>
  Value attribute(const std::string& name) {
    const auto found = table_.attributes.find(name);
    const Value* value = found == table_.attributes.end()
                             ? nullptr
                             : std::get_if<Value>(&found->second);
    if (value == nullptr) {
      throw InputError(
          where_,
          fmt::format(
              "expected the attribute \"{}\" of type {}, "
              "found {}",
              name, type_name<Value>(),
              found == table_.attributes.end() ? "none" : "another type"));
    }
    ++attributes_taken_;
    return *value;
  }

  // Every column and attribute has been asked for.
  void finish() const {
    if (columns_taken_ != table_.columns.size()) {
      throw InputError(
          where_, fmt::format("expected {} columns, found {}", columns_taken_,
                              table_.columns.size()));
    }
    if (attributes_taken_ != table_.attributes.size()) {
      throw InputError(
          where_, fmt::format("expected {} attributes, found {}",
                              attributes_taken_, table_.attributes.size()));
    }
  }

 private:
  template <typename Value>
  static std::string_view type_name() {
    if constexpr (std::is_same_v<Value, double>) return "float64";
    if constexpr (std::is_same_v<Value, std::int64_t>) return "int64";
    return "text";
  }

  const DataTable& table_;
  std::string where_;
  std::size_t columns_taken_ = 0;
  std::size_t attributes_taken_ = 0;
};

int checked_int(std::int64_t value, const std::string& where) {
  if (value < 0 || value > std::numeric_limits<int>::max()) {
    throw InputError(
        where,
        fmt::format("expected a count that fits 31 bits, found {}", value));
  }
  return static_cast<int>(value);
}

std::vector<LayerLoss> read_layer_loss(const DataTable& table,
                                       const DataTable& repeat_table,
                                       const std::string& where) {
  const std::string repeats_where = where + "_repeats";
  TableReader reader(table, where);
  const auto& layers = reader.column<std::int64_t>("layer");
  const auto& linears = reader.column<std::string>("linear");
  const auto& mse = reader.column<double>("mse");
  const auto& signal = reader.column<double>("signal");
  reader.finish();
  TableReader repeat_reader(repeat_table, repeats_where);
  const auto& entries = repeat_reader.column<std::int64_t>("row");
  const auto& repeats = repeat_reader.column<double>("mse");
  repeat_reader.finish();

  std::vector<LayerLoss> rows(layers.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = {checked_int(layers[i], where + "/layer"),
               linears[i],
               mse[i],
               signal[i],
               {}};
  }
  std::int64_t previous = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i] < previous ||
        entries[i] >= static_cast<std::int64_t>(rows.size())) {
      throw InputError(repeats_where + "/row",
                       fmt::format("expected rows of layer_loss in order ({} "
                                   "rows), found {}",
                                   rows.size(), entries[i]));
    }
    previous = entries[i];
    rows[static_cast<std::size_t>(previous)].repeats.push_back(repeats[i]);
  }
  return rows;
}

std::vector<LinearRecord> read_linears(const DataTable& table,
                                       const std::string& where) {
  TableReader reader(table, where);
  const auto& layers = reader.column<std::int64_t>("layer");
  const auto& linears = reader.column<std::string>("linear");
  const auto& damping = reader.column<double>("damping");
  const auto& attempts = reader.column<std::int64_t>("attempts");
  const auto& dead_blocks = reader.column<std::int64_t>("dead_blocks");
  const auto& fallback = reader.column<std::string>("fallback");
  const auto& weight_error = reader.column<double>("weight_error");
  reader.finish();
  std::vector<LinearRecord> rows(layers.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = {checked_int(layers[i], where + "/layer"),
               linears[i],
               damping[i],
               checked_int(attempts[i], where + "/attempts"),
               dead_blocks[i],
               fallback[i],
               weight_error[i]};
  }
  return rows;
}

Perplexity read_perplexity(const DataTable& table, const std::string& where) {
  TableReader reader(table, where);
  Perplexity result;
  result.length = reader.attribute<std::int64_t>("length");
  result.value = reader.attribute<double>("value");
  result.standard_error = reader.attribute<double>("standard_error");
  result.window_nll = reader.column<double>("window_nll");
  reader.finish();
  return result;
}

Divergence read_divergence(const DataTable& table, const std::string& where) {
  TableReader reader(table, where);
  Divergence result;
  result.kl = reader.attribute<double>("kl");
  result.kl_standard_error = reader.attribute<double>("kl_standard_error");
  result.agreement = reader.attribute<double>("agreement");
  result.window_kl = reader.column<double>("window_kl");
  result.window_agreement = reader.column<double>("window_agreement");
  reader.finish();
  return result;
}

void read_provenance(const DataTable& table, const std::string& where,
                     CellResult& cell) {
  TableReader reader(table, where);
  cell.peak_memory_bytes = reader.attribute<std::int64_t>("peak_memory_bytes");
  const auto& stages = reader.column<std::string>("stage");
  const auto& seconds = reader.column<double>("seconds");
  for (std::size_t i = 0; i < stages.size(); ++i) {
    cell.seconds[stages[i]] = seconds[i];
  }
}

// Attributes: the fixed ones, and every other is an option.
void read_attributes(const Record& record, const std::string& where,
                     CellResult& cell) {
  std::map<std::string_view, std::string> fixed;
  for (const auto& [name, value] : record.attributes) {
    const std::string* text = std::get_if<std::string>(&value);
    if (text == nullptr) {
      throw InputError(where, fmt::format("expected the attribute \"{}\" to be "
                                          "text, found a number",
                                          printable(name)));
    }
    if (contains(kCellAttributes, name)) {
      fixed[name] = *text;
    } else {
      cell.parameters.options[name] = *text;
    }
  }
  for (const std::string_view name : kCellAttributes) {
    if (!fixed.contains(name)) {
      throw InputError(
          where,
          fmt::format("expected the attribute \"{}\", found none", name));
    }
  }
  cell.parameters.model = fixed["model"];
  cell.parameters.format = fixed["format"];
  cell.parameters.transform = fixed["transform"];
  cell.parameters.method = fixed["method"];
  cell.error = fixed["error"];
  const std::string& status = fixed["status"];
  if (status != "done" && status != "failed") {
    throw InputError(where, fmt::format("expected the status \"done\" or "
                                        "\"failed\", found \"{}\"",
                                        printable(status)));
  }
  cell.status = status == "done" ? CellStatus::kDone : CellStatus::kFailed;
}

void require_equal_rows(const DataTable& table, const std::string& where) {
  for (const DataColumn& entry : table.columns) {
    if (column_size(entry.values) != table.rows()) {
      throw InputError(fmt::format("{}/{}", where, printable(entry.name)),
                       fmt::format("expected {} rows as in the first column, "
                                   "found {}",
                                   table.rows(), column_size(entry.values)));
    }
  }
}

}  // namespace

Record to_record(const CellResult& cell,
                 const std::map<std::string, std::string>& provenance) {
  Record record;
  for (const auto& [name, value] : cell.parameters.options) {
    require(!contains(kCellAttributes, name) && name != kDigestAttribute,
            fmt::format("\"{}\" cannot be the name of an option", name));
    record.attributes[name] = value;
  }
  record.attributes["model"] = cell.parameters.model;
  record.attributes["format"] = cell.parameters.format;
  record.attributes["transform"] = cell.parameters.transform;
  record.attributes["method"] = cell.parameters.method;
  record.attributes["status"] =
      std::string(cell.status == CellStatus::kDone ? "done" : "failed");
  record.attributes["error"] = cell.error;
  for (const auto& [name, table] : cell.tables) {
    require(!contains(kKnownTables, name),
            fmt::format("\"{}\" cannot be the name of a table", name));
    record.tables[name] = table;
  }
  add_layer_loss(cell.layer_loss, record);
  add_linears(cell.linears, record);
  if (cell.perplexity) add_perplexity(*cell.perplexity, record);
  if (cell.divergence) add_divergence(*cell.divergence, record);
  add_provenance(cell, provenance, record);
  require_storable(record);
  return record;
}

CellResult to_cell(const Record& record, const std::string& where) {
  CellResult cell;
  read_attributes(record, where, cell);
  static const DataTable kNoTable;
  const auto known = [&](std::string_view name) -> const DataTable* {
    const auto found = record.tables.find(std::string(name));
    return found == record.tables.end() ? nullptr : &found->second;
  };
  for (const auto& [name, table] : record.tables) {
    require_equal_rows(table, fmt::format("{}/{}", where, printable(name)));
    if (!contains(kKnownTables, name)) cell.tables[name] = table;
  }
  if (const DataTable* table = known("layer_loss")) {
    const DataTable* repeats = known("layer_loss_repeats");
    cell.layer_loss =
        read_layer_loss(*table, repeats == nullptr ? kNoTable : *repeats,
                        where + "/layer_loss");
  }
  if (const DataTable* table = known("linears")) {
    cell.linears = read_linears(*table, where + "/linears");
  }
  if (const DataTable* table = known("perplexity")) {
    cell.perplexity = read_perplexity(*table, where + "/perplexity");
  }
  if (const DataTable* table = known("kl")) {
    cell.divergence = read_divergence(*table, where + "/kl");
  }
  const DataTable* provenance = known(kProvenanceTable);
  read_provenance(provenance == nullptr ? kNoTable : *provenance,
                  where + "/provenance", cell);
  return cell;
}

std::map<std::string, std::string> record_provenance(const Record& record) {
  std::map<std::string, std::string> provenance;
  const auto table = record.tables.find(std::string(kProvenanceTable));
  if (table == record.tables.end()) return provenance;
  for (const auto& [name, value] : table->second.attributes) {
    if (const std::string* text = std::get_if<std::string>(&value)) {
      provenance[name] = *text;
    }
  }
  return provenance;
}

}  // namespace wush
