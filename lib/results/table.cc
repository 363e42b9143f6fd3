#include "lib/results/table.h"

namespace wush {

std::size_t column_size(const DataValues& values) {
  return std::visit([](const auto& list) { return list.size(); }, values);
}

std::size_t DataTable::rows() const {
  return columns.empty() ? 0 : column_size(columns.front().values);
}

const DataColumn* DataTable::find(std::string_view name) const {
  for (const DataColumn& column : columns) {
    if (column.name == name) return &column;
  }
  return nullptr;
}

bool is_reproducible(const DataTable& table) {
  const auto attribute = table.attributes.find(kReproducible);
  return attribute == table.attributes.end() ||
         attribute->second != DataValue(std::string("no"));
}

}  // namespace wush
