#include "analysis/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "lib/support/error.h"

namespace wush {
namespace {

// The number that may compete in a column, if this value is one.
std::optional<double> competitor(const Row& row, std::size_t column) {
  if (!row.competes) return std::nullopt;
  if (const auto* number = std::get_if<Number>(&row.values[column])) {
    if (std::isfinite(number->value)) return number->value;
  }
  if (const auto* count = std::get_if<std::int64_t>(&row.values[column])) {
    return static_cast<double>(*count);
  }
  return std::nullopt;
}

void mark_column(const Column& column, std::size_t index,
                 const std::vector<Row>& rows,
                 std::vector<std::vector<bool>>& marks) {
  if (column.best == Column::Best::kNone) return;
  struct Extreme {
    double value;
    int competitors;
  };
  std::map<std::string, Extreme> best;
  for (const Row& row : rows) {
    const auto value = competitor(row, index);
    if (!value) continue;
    auto [entry, is_new] = best.try_emplace(row.group, Extreme{*value, 0});
    ++entry->second.competitors;
    const bool better = column.best == Column::Best::kLowest
                            ? *value < entry->second.value
                            : *value > entry->second.value;
    if (better) entry->second.value = *value;
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto value = competitor(rows[i], index);
    if (!value) continue;
    const Extreme& extreme = best.at(rows[i].group);
    marks[i][index] = extreme.competitors > 1 && *value == extreme.value;
  }
}

}  // namespace

std::size_t Table::row_count() const {
  std::size_t count = 0;
  for (const Section& section : sections) count += section.rows.size();
  return count;
}

std::vector<std::vector<bool>> best_marks(const Table& table,
                                          const Section& section) {
  std::vector<std::vector<bool>> marks(
      section.rows.size(), std::vector<bool>(table.columns.size(), false));
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    mark_column(table.columns[c], c, section.rows, marks);
  }
  return marks;
}

std::vector<bool> used_columns(const Table& table, const Section& section) {
  std::vector<bool> used(table.columns.size(), false);
  for (const Row& row : section.rows) {
    for (std::size_t c = 0; c < used.size(); ++c) {
      if (!std::holds_alternative<std::monostate>(row.values[c])) {
        used[c] = true;
      }
    }
  }
  return used;
}

TableFormat parse_table_format(std::string_view name) {
  if (name == "markdown") return TableFormat::kMarkdown;
  if (name == "latex") return TableFormat::kLatex;
  if (name == "csv") return TableFormat::kCsv;
  if (name == "json") return TableFormat::kJson;
  throw InputError("--format",
                   fmt::format("expected markdown, latex, csv or json, found "
                               "\"{}\"",
                               name));
}

std::string format_number(double value, const NumberStyle& style) {
  const double printed = value * style.scale;
  if (!std::isfinite(printed)) return fmt::format("{}", printed);
  int decimals = style.digits;
  if (style.kind == NumberStyle::Kind::kSignificant) {
    // Rounding may carry into one more digit (9.996 -> 10.0), so the exponent
    // is read from the rounded form.
    const std::string rounded =
        fmt::format("{:.{}e}", printed, style.digits - 1);
    const int exponent = std::stoi(rounded.substr(rounded.find('e') + 1));
    decimals = std::max(0, style.digits - 1 - exponent);
  }
  return fmt::format("{:.{}f}", printed, decimals);
}

}  // namespace wush
