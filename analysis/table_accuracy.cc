// Tables 2, 3 and 5: accuracies, their average, the recovery against the
// unquantized model and the spread over seeds.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/cells.h"
#include "analysis/published.h"
#include "analysis/tables.h"
#include "lib/results/table.h"

namespace wush {
namespace {

// A cell may hold a table `accuracy` with a row a task: columns `task` (text)
// and `accuracy` (percent).
constexpr char kTableName[] = "accuracy";
constexpr NumberStyle kPercentStyle{NumberStyle::Kind::kFixed, 2, 1};

// Task -> accuracy in percent; empty when the cell holds none.
std::map<std::string, double> accuracies(const CellResult& result) {
  std::map<std::string, double> values;
  const auto table = result.tables.find(kTableName);
  if (table == result.tables.end()) return values;
  const DataColumn* task = table->second.find("task");
  const DataColumn* accuracy = table->second.find("accuracy");
  if (task == nullptr || accuracy == nullptr) return values;
  const auto* names = std::get_if<std::vector<std::string>>(&task->values);
  const auto* percent = std::get_if<std::vector<double>>(&accuracy->values);
  if (names == nullptr || percent == nullptr) return values;
  for (std::size_t i = 0; i < names->size(); ++i) {
    values[(*names)[i]] = (*percent)[i];
  }
  return values;
}

// The cells of one row: equal but for their seed.
struct SeedGroup {
  CellParameters parameters;
  std::vector<std::map<std::string, double>> seeds;

  std::optional<double> task(const std::string& name) const {
    std::vector<double> values;
    for (const auto& seed : seeds) {
      const auto found = seed.find(name);
      if (found != seed.end()) values.push_back(found->second);
    }
    if (values.empty()) return std::nullopt;
    return estimate(values).mean;
  }

  // Average over tasks, for each seed.
  std::vector<double> averages() const {
    std::vector<double> values;
    for (const auto& seed : seeds) {
      double sum = 0;
      for (const auto& [name, accuracy] : seed) sum += accuracy;
      values.push_back(sum / static_cast<double>(seed.size()));
    }
    return values;
  }
};

std::vector<SeedGroup> group_seeds(const std::vector<StoredCell>& cells,
                                   const ParameterColumns& parameters) {
  std::vector<SeedGroup> groups;
  std::map<std::string, std::size_t> index;
  for (const StoredCell& cell : cells) {
    auto values = accuracies(cell.result);
    if (values.empty()) continue;
    const std::string label =
        cell_label(cell.result.parameters, parameters.options());
    const auto [entry, is_new] = index.try_emplace(label, groups.size());
    if (is_new) groups.push_back({cell.result.parameters, {}});
    groups[entry->second].seeds.push_back(std::move(values));
  }
  return groups;
}

std::vector<std::string> task_names(
    const std::vector<SeedGroup>& groups,
    const std::vector<PublishedTable>& published) {
  std::vector<std::string> names;
  const auto add = [&names](const std::string& name) {
    if (name == "Average" || name == "Recovery") return;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  };
  for (const SeedGroup& group : groups) {
    for (const auto& seed : group.seeds) {
      for (const auto& [name, accuracy] : seed) add(name);
    }
  }
  for (const PublishedTable& table : published) {
    for (const std::string& name : table.columns) add(name);
  }
  return names;
}

Value percent(const std::optional<double>& value) {
  return value ? Value{Number{*value, std::nullopt, kPercentStyle}} : Value{};
}

Section own_section(const std::vector<SeedGroup>& groups,
                    const std::vector<std::string>& tasks,
                    const ParameterColumns& parameters) {
  std::map<std::string, double> unquantized;
  for (const SeedGroup& group : groups) {
    if (group.parameters.format == "none") {
      unquantized[group.parameters.model] = estimate(group.averages()).mean;
    }
  }
  Section section{"accuracy", "Accuracy, %", "results", {}};
  for (const SeedGroup& group : groups) {
    const Estimate average = estimate(group.averages());
    const auto n = static_cast<double>(group.seeds.size());
    Row row{parameters.values(group.parameters),
            group.parameters.model + " " + group.parameters.format,
            group.parameters.format != "none"};
    for (const std::string& task : tasks) {
      row.values.push_back(percent(group.task(task)));
    }
    row.values.push_back(percent(average.mean));
    row.values.push_back(n > 1 ? percent(average.standard_error * std::sqrt(n))
                               : Value{});
    const auto reference = unquantized.find(group.parameters.model);
    row.values.push_back(reference == unquantized.end()
                             ? Value{}
                             : percent(100 * average.mean / reference->second));
    section.rows.push_back(std::move(row));
  }
  return section;
}

Section published_section(const PublishedTable& published,
                          const std::vector<std::string>& tasks,
                          const ParameterColumns& parameters) {
  const auto value = [&published](const PublishedRow& row,
                                  const std::string& name) -> Value {
    const auto& columns = published.columns;
    const auto column = std::find(columns.begin(), columns.end(), name);
    if (column == columns.end()) return {};
    return percent(
        row.values[static_cast<std::size_t>(column - columns.begin())]);
  };
  Section section{"published", published.source, published.source, {}};
  for (const PublishedRow& from : published.rows) {
    Row row{
        parameters.values(from.model, from.format, from.transform, from.method),
        from.model + " " + from.format, from.format != "bf16"};
    for (const std::string& task : tasks) {
      row.values.push_back(value(from, task));
    }
    row.values.push_back(value(from, "Average"));
    row.values.emplace_back();
    row.values.push_back(value(from, "Recovery"));
    section.rows.push_back(std::move(row));
  }
  return section;
}

std::vector<PublishedTable> published_tables(bool has_own, bool asked) {
  std::vector<PublishedTable> tables;
  if (!has_own || asked) tables = published_accuracies();
  if (asked) {
    for (PublishedTable& table : published_other_accuracies()) {
      tables.push_back(std::move(table));
    }
  }
  return tables;
}

}  // namespace

Table make_accuracy_table(const AnalysisRequest& request) {
  const ResultSet set = read_result_set(request.inputs);
  std::vector<StoredCell> cells = set.cells;
  for (StoredCell& cell : cells) cell.result.parameters.options.erase("seed");
  const ParameterColumns parameters(cells);
  const std::vector<SeedGroup> groups = group_seeds(cells, parameters);
  const std::vector<PublishedTable> published =
      published_tables(!groups.empty(), request.published);
  const std::vector<std::string> tasks = task_names(groups, published);
  Table table{"accuracy", "Accuracy", parameters.columns(), {}, set.notes, {}};
  for (const std::string& task : tasks) {
    table.columns.push_back(
        {task, task, Column::Align::kRight, Column::Best::kHighest});
  }
  table.columns.push_back(
      {"average", "Average", Column::Align::kRight, Column::Best::kHighest});
  table.columns.push_back({"average_seed_deviation", "sd over seeds"});
  table.columns.push_back({"recovery", "Recovery, %", Column::Align::kRight,
                           Column::Best::kHighest});
  if (groups.empty()) {
    table.missing.push_back(
        "no accuracies in these results: this program measures perplexity, KL "
        "divergence and layer loss; every row here is published.");
  } else {
    table.sections.push_back(own_section(groups, tasks, parameters));
  }
  for (const PublishedTable& from : published) {
    table.sections.push_back(published_section(from, tasks, parameters));
  }
  if (!published.empty()) {
    table.notes.push_back(
        "Rows titled \"published\" are the papers' numbers and not results of "
        "this program. MMLU of Llama-3.2-3B-Instruct in table 3 is MMLU-CoT.");
  }
  return table;
}

}  // namespace wush
