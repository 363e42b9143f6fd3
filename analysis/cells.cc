#include "analysis/cells.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "lib/support/error.h"

namespace wush {
namespace {

std::optional<double> parse_number(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// "1" and "1.0" are the same option value.
bool same_value(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto x = parse_number(a);
  const auto y = parse_number(b);
  return x && y && *x == *y;
}

bool same_parameters(const CellParameters& a, const CellParameters& b) {
  if (a.model != b.model || a.format != b.format) return false;
  // The unquantized model has no transform and no method.
  if (a.format != "none" &&
      (a.transform != b.transform || a.method != b.method)) {
    return false;
  }
  return std::all_of(a.options.begin(), a.options.end(),
                     [&](const auto& option) {
                       const auto other = b.options.find(option.first);
                       return other == b.options.end() ||
                              same_value(option.second, other->second);
                     });
}

void apply_override(const std::string& name, const std::string& value,
                    CellParameters& parameters) {
  if (name == "model") {
    parameters.model = value;
  } else if (name == "format") {
    parameters.format = value;
  } else if (name == "transform") {
    parameters.transform = value;
    parameters.options.erase("lambda");
  } else if (name == "method") {
    parameters.method = value;
  } else {
    parameters.options[name] = value;
  }
}

std::string damping_note(const CellResult& result) {
  int raised = 0;
  const LinearRecord* largest = nullptr;
  for (const LinearRecord& record : result.linears) {
    if (record.attempts <= 1) continue;
    ++raised;
    if (largest == nullptr || record.damping > largest->damping) {
      largest = &record;
    }
  }
  if (raised == 0) return "";
  return fmt::format(
      "damping raised for {} of {} linears (largest {}: layer {} {})", raised,
      result.linears.size(), largest->damping, largest->layer, largest->linear);
}

std::string fallback_note(const CellResult& result) {
  std::map<std::string, std::vector<std::string>> linears;
  for (const LinearRecord& record : result.linears) {
    if (record.fallback.empty()) continue;
    linears[record.fallback].push_back(
        fmt::format("layer {} {}", record.layer, record.linear));
  }
  std::vector<std::string> parts;
  for (const auto& [fallback, names] : linears) {
    parts.push_back(fmt::format("{} for {} linears (first: {})", fallback,
                                names.size(), names.front()));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string dead_block_note(const CellResult& result) {
  std::int64_t blocks = 0;
  for (const LinearRecord& record : result.linears) {
    blocks += record.dead_blocks;
  }
  return blocks == 0 ? "" : fmt::format("{} blocks without any signal", blocks);
}

bool equal_parameters(const CellParameters& a, const CellParameters& b) {
  return a.model == b.model && a.format == b.format &&
         a.transform == b.transform && a.method == b.method &&
         a.options == b.options;
}

// Planned cells that the file does not hold.
std::vector<CellParameters> absent_cells(const ResultsFile& file) {
  std::vector<CellParameters> absent;
  for (const CellParameters& planned : file.plan.cells) {
    const auto& cells = file.results.cells;
    const bool present =
        std::any_of(cells.begin(), cells.end(), [&](const StoredCell& cell) {
          return equal_parameters(cell.result.parameters, planned);
        });
    if (!present) absent.push_back(planned);
  }
  return absent;
}

// Names of the texts and windows that are not the same in all files.
std::set<std::string> differing_texts(const std::vector<ResultsFile>& files) {
  std::map<std::string, std::set<std::string>> values;
  for (const ResultsFile& file : files) {
    for (const auto& [name, value] : file.plan.texts) {
      values[name].insert(value);
    }
  }
  std::set<std::string> names;
  for (const auto& [name, distinct] : values) {
    if (distinct.size() > 1) names.insert(name);
  }
  return names;
}

// Adds those texts to the options of a cell. The unquantized model depends on
// the evaluation text only, and on no other option.
void add_texts(const PlannedSweep& plan, const std::set<std::string>& names,
               StoredCell& cell) {
  auto& options = cell.result.parameters.options;
  if (is_reference(cell)) options.clear();
  for (const std::string& name : names) {
    const auto value = plan.texts.find(name);
    if (value == plan.texts.end()) continue;
    if (!is_reference(cell) || name.starts_with("evaluation_")) {
      options[name] = value->second;
    }
  }
}

// What two cells have in common when only one of them is shown.
std::string identity(const StoredCell& cell) {
  if (!is_reference(cell)) return cell.key;
  std::string text = "unquantized " + cell.result.parameters.model;
  for (const auto& [name, value] : cell.result.parameters.options) {
    text += fmt::format(" {}={}", name, value);
  }
  return text;
}

}  // namespace

ResultSet read_result_set(const std::vector<std::filesystem::path>& paths) {
  ResultSet set;
  for (const std::filesystem::path& path : paths) {
    Results results = read_results(path);
    PlannedSweep plan = read_planned_sweep(results, path.string());
    set.files.push_back({path, std::move(results), std::move(plan)});
  }
  const std::set<std::string> differing = differing_texts(set.files);
  std::set<std::string> known;
  for (const ResultsFile& file : set.files) {
    std::size_t duplicates = 0;
    for (StoredCell cell : file.results.cells) {
      add_texts(file.plan, differing, cell);
      if (known.insert(identity(cell)).second) {
        set.cells.push_back(std::move(cell));
      } else {
        ++duplicates;
      }
    }
    if (duplicates > 0) {
      set.notes.push_back(fmt::format(
          "{}: {} cells that an earlier file also holds are shown once.",
          file.path.filename().string(), duplicates));
    }
  }
  return set;
}

std::vector<std::string> missing_cells(const ResultSet& set) {
  std::vector<std::string> missing;
  for (const ResultsFile& file : set.files) {
    const std::vector<CellParameters> absent = absent_cells(file);
    if (absent.empty()) continue;
    missing.push_back(fmt::format(
        "{} of {} planned cells are not in {} (first: {}); run the same "
        "configuration again to compute them.",
        absent.size(), file.plan.cells.size(), file.path.filename().string(),
        cell_label(absent.front(), varying_options(file.results.cells))));
  }
  return missing;
}

std::vector<std::string> missing_measurements(
    const ResultSet& set, const std::string& measurement,
    bool (*has)(const CellResult& result)) {
  std::vector<std::string> missing = missing_cells(set);
  for (const ResultsFile& file : set.files) {
    const std::vector<StoredCell>& cells = file.results.cells;
    const auto lacking =
        std::count_if(cells.begin(), cells.end(), [has](const auto& cell) {
          return cell.result.status == CellStatus::kDone && !has(cell.result);
        });
    if (lacking > 0) {
      missing.push_back(fmt::format(
          "{} of {} cells in {} have no {}; put it under `measure:` of the "
          "configuration and run it.",
          lacking, cells.size(), file.path.filename().string(), measurement));
    }
  }
  return missing;
}

bool has_model(const ResultSet& set, const std::string& model) {
  return std::any_of(set.cells.begin(), set.cells.end(), [&](const auto& cell) {
    return cell.result.parameters.model == model;
  });
}

bool is_reference(const StoredCell& cell) {
  return cell.result.parameters.format == "none";
}

std::string transform_label(const CellParameters& parameters) {
  const auto lambda = parameters.options.find("lambda");
  if (lambda == parameters.options.end()) return parameters.transform;
  return fmt::format("{}({})", parameters.transform, lambda->second);
}

std::string option_label(const CellParameters& parameters,
                         const std::vector<std::string>& options) {
  std::string label;
  for (const std::string& option : options) {
    const auto found = parameters.options.find(option);
    if (found != parameters.options.end()) {
      label += fmt::format(" {}={}", option, found->second);
    }
  }
  return label;
}

std::string cell_label(const CellParameters& parameters,
                       const std::vector<std::string>& options) {
  if (parameters.format == "none") return parameters.model + " unquantized";
  return fmt::format("{} {} {} {}{}", parameters.model, parameters.format,
                     transform_label(parameters), parameters.method,
                     option_label(parameters, options));
}

std::vector<std::string> varying_options(const std::vector<StoredCell>& cells) {
  std::map<std::string, std::set<std::string>> values;
  for (const StoredCell& cell : cells) {
    if (is_reference(cell)) continue;
    for (const auto& [name, value] : cell.result.parameters.options) {
      if (name != "lambda") values[name].insert(value);
    }
  }
  std::vector<std::string> names;
  for (const auto& [name, distinct] : values) {
    if (distinct.size() > 1) names.push_back(name);
  }
  return names;
}

ParameterColumns::ParameterColumns(const std::vector<StoredCell>& cells)
    : options_(varying_options(cells)) {}

std::vector<Column> ParameterColumns::columns() const {
  std::vector<Column> columns;
  for (const char* name : {"model", "format", "transform", "method"}) {
    columns.push_back({name, name, Column::Align::kLeft});
  }
  for (const std::string& option : options_) {
    columns.push_back({option, option, Column::Align::kLeft});
  }
  return columns;
}

std::vector<Value> ParameterColumns::values(
    const CellParameters& parameters) const {
  const bool reference = parameters.format == "none";
  std::vector<Value> values = {
      parameters.model, reference ? "none" : parameters.format,
      reference ? Value{} : Value{transform_label(parameters)},
      reference ? Value{} : Value{parameters.method}};
  for (const std::string& option : options_) {
    const auto found = parameters.options.find(option);
    values.push_back(found == parameters.options.end() ? Value{}
                                                       : Value{found->second});
  }
  return values;
}

std::vector<Value> ParameterColumns::values(const std::string& model,
                                            const std::string& format,
                                            const std::string& transform,
                                            const std::string& method) const {
  const auto text = [](const std::string& name) {
    return name.empty() ? Value{} : Value{name};
  };
  std::vector<Value> values = {text(model), text(format), text(transform),
                               text(method)};
  values.resize(values.size() + options_.size());
  return values;
}

Baseline::Baseline(const std::string& text) : text_(text) {
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0 ||
        equals + 1 == part.size()) {
      throw InputError("--baseline",
                       fmt::format("expected NAME=VALUE[,NAME=VALUE...] such "
                                   "as transform=hadamard,method=rtn, found "
                                   "\"{}\"",
                                   text));
    }
    overrides_.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    begin = end + 1;
  }
}

const StoredCell* Baseline::find(const std::vector<StoredCell>& cells,
                                 const StoredCell& cell) const {
  CellParameters wanted = cell.result.parameters;
  // The unquantized model has no parameters to override but its own name.
  if (is_reference(cell)) return nullptr;
  for (const auto& [name, value] : overrides_) {
    apply_override(name, value, wanted);
  }
  const StoredCell* found = nullptr;
  for (const StoredCell& candidate : cells) {
    if (!same_parameters(wanted, candidate.result.parameters)) continue;
    if (found != nullptr) {
      const std::vector<std::string> options = varying_options(cells);
      throw InputError(
          "--baseline",
          fmt::format("expected one cell for \"{}\", found \"{}\" and \"{}\"",
                      text_, cell_label(found->result.parameters, options),
                      cell_label(candidate.result.parameters, options)));
    }
    found = &candidate;
  }
  return found == nullptr || found->key == cell.key ? nullptr : found;
}

std::string baseline_note(const Baseline& baseline, const Section& section,
                          std::size_t column) {
  const bool compared = std::any_of(
      section.rows.begin(), section.rows.end(), [column](const Row& row) {
        return !std::holds_alternative<std::monostate>(row.values[column]);
      });
  if (!compared) {
    return fmt::format(
        "No differences: no other cell with {} has this measurement; choose "
        "another with --baseline.",
        baseline.text());
  }
  return fmt::format(
      "Δ is the difference from the same cell with {}, paired by window; "
      "choose "
      "another with --baseline.",
      baseline.text());
}

Estimate estimate(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Estimate result;
  for (const double value : values) result.mean += value / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) {
    squares += (value - result.mean) * (value - result.mean);
  }
  result.standard_error = std::sqrt(squares / (n - 1) / n);
  return result;
}

std::optional<Estimate> paired_difference(const std::vector<double>& a,
                                          const std::vector<double>& b) {
  if (a.size() != b.size() || a.empty()) return std::nullopt;
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  return estimate(differences);
}

std::vector<std::string> record_notes(const std::vector<StoredCell>& cells,
                                      const std::vector<std::string>& options) {
  std::vector<std::string> notes;
  for (const StoredCell& cell : cells) {
    const CellResult& result = cell.result;
    std::vector<std::string> parts;
    if (result.status == CellStatus::kFailed) {
      parts.push_back("failed: " + result.error);
    }
    for (std::string part : {damping_note(result), fallback_note(result),
                             dead_block_note(result)}) {
      if (!part.empty()) parts.push_back(std::move(part));
    }
    if (parts.empty()) continue;
    notes.push_back(fmt::format("{}: {}.",
                                cell_label(result.parameters, options),
                                fmt::join(parts, "; ")));
  }
  return notes;
}

}  // namespace wush
