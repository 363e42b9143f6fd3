// A named table of columns: how every measurement of a cell is stored, so that
// a new kind of measurement is a new table and not a new file format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace wush {

// A scalar that belongs to a table or a cell: text, float64 or int64.
using DataValue = std::variant<std::string, double, std::int64_t>;

using DataValues = std::variant<std::vector<double>, std::vector<std::int64_t>,
                                std::vector<std::string>>;

struct DataColumn {
  std::string name;  // not empty, without '/'
  std::string unit;  // "nats", "tokens/s", ...; empty for labels and counts
  DataValues values;
};

// All columns have the same number of rows.
struct DataTable {
  std::map<std::string, DataValue> attributes;
  std::vector<DataColumn> columns;

  // Rows of the first column; 0 for a table without columns.
  std::size_t rows() const;
  // The column of that name, or nullptr.
  const DataColumn* find(std::string_view name) const;
};

// Attribute of a table whose values may differ between two runs of the same
// cell, such as times: with the value "no" it is left out of comparisons, as
// provenance is.
inline constexpr char kReproducible[] = "reproducible";

bool is_reproducible(const DataTable& table);

// Number of values in a column.
std::size_t column_size(const DataValues& values);

}  // namespace wush
