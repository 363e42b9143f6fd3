// What a table is before it is rendered: one model for every table, so that
// markdown, LaTeX, CSV and JSON are written in one place and always agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace wush {

// How a number is printed in markdown and LaTeX. CSV and JSON always carry the
// value itself, unscaled, in the shortest form that reads back to the same
// bits.
struct NumberStyle {
  enum class Kind { kFixed, kSignificant } kind = Kind::kSignificant;
  int digits = 3;    // after the point (kFixed) or significant (kSignificant)
  double scale = 1;  // printed = value * scale; the section's title says so
};

struct Number {
  double value = 0;
  std::optional<double> standard_error;  // printed as "value ± error"
  NumberStyle style;
};

// Nothing (printed as a dash), a text, a count, or a number.
using Value = std::variant<std::monostate, std::string, std::int64_t, Number>;

struct Column {
  enum class Align { kLeft, kRight };
  enum class Best { kNone, kLowest, kHighest };
  std::string key;    // CSV header and JSON key: lower case, unit spelled out
  std::string title;  // markdown and LaTeX header, with the unit
  Align align = Align::kRight;
  Best best = Best::kNone;
  bool has_error = false;  // CSV and JSON also get "<key>_stderr"
};

struct Row {
  std::vector<Value> values;  // one a column
  // The best value of a column is sought among the rows of a section with the
  // same group; a rule is drawn between groups.
  std::string group;
  // May be marked best; false for references such as the unquantized model.
  bool competes = true;
};

// Rows of one quantity and one source under the table's columns.
struct Section {
  std::string key;     // "mse", "published"; the column "section" in CSV, JSON
  std::string title;   // heading, with unit and scale
  std::string source;  // "results", or where the numbers were published
  std::vector<Row> rows;
};

struct Table {
  std::string name;  // as on the command line
  std::string title;
  std::vector<Column> columns;
  std::vector<Section> sections;
  std::vector<std::string> notes;    // protocols, fallbacks, damping, sources
  std::vector<std::string> missing;  // what is not there and how to compute it

  // Number of rows of all sections.
  std::size_t row_count() const;
};

// For each row of the section, for each column: is it the best of its group?
// The lowest or highest value as the column says, all of them on ties; a column
// with fewer than two competing numbers in a group has no best.
std::vector<std::vector<bool>> best_marks(const Table& table,
                                          const Section& section);

// Which columns have a value in some row of the section; markdown, LaTeX and
// HTML leave the others out.
std::vector<bool> used_columns(const Table& table, const Section& section);

enum class TableFormat { kMarkdown, kLatex, kCsv, kJson };

// "markdown", "latex", "csv" or "json"; throws InputError with the valid names.
TableFormat parse_table_format(std::string_view name);

// The number as markdown prints it, without its standard error.
std::string format_number(double value, const NumberStyle& style);

// A value as markdown shows it: "12.57 ± 0.11", a dash for nothing.
std::string printed_value(const Value& value);

// The table as text, ending in a newline. LaTeX is a table environment that
// needs the package booktabs. CSV has one header line and no notes. JSON is one
// object {name, title, columns, rows, notes, missing}; each row is an object by
// column key with "section", "source" and "best" (the keys of its best values).
// Values that are not finite are null in JSON and nan or inf in CSV.
std::string render(const Table& table, TableFormat format);

}  // namespace wush
