#include "lib/checkpoint/data_type.h"

#include <array>

namespace wush {
namespace {

struct Row {
  DataType type;
  std::string_view name;
  uint64_t size;
};

constexpr std::array kRows = {
    Row{DataType::kBool, "BOOL", 1},
    Row{DataType::kUint8, "U8", 1},
    Row{DataType::kInt8, "I8", 1},
    Row{DataType::kFloat8E5m2, "F8_E5M2", 1},
    Row{DataType::kFloat8E4m3, "F8_E4M3", 1},
    Row{DataType::kFloat8E8m0, "F8_E8M0", 1},
    Row{DataType::kUint16, "U16", 2},
    Row{DataType::kInt16, "I16", 2},
    Row{DataType::kFloat16, "F16", 2},
    Row{DataType::kBfloat16, "BF16", 2},
    Row{DataType::kUint32, "U32", 4},
    Row{DataType::kInt32, "I32", 4},
    Row{DataType::kFloat32, "F32", 4},
    Row{DataType::kUint64, "U64", 8},
    Row{DataType::kInt64, "I64", 8},
    Row{DataType::kFloat64, "F64", 8},
};

constexpr bool rows_follow_enumeration() {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<size_t>(kRows[i].type) != i) return false;
  }
  return true;
}
static_assert(rows_follow_enumeration());

const Row& row(DataType type) { return kRows[static_cast<size_t>(type)]; }

}  // namespace

std::string_view data_type_name(DataType type) { return row(type).name; }

std::optional<DataType> find_data_type(std::string_view name) {
  for (const Row& candidate : kRows) {
    if (candidate.name == name) return candidate.type;
  }
  return std::nullopt;
}

uint64_t data_type_size(DataType type) { return row(type).size; }

bool is_weight_type(DataType type) {
  return type == DataType::kFloat32 || type == DataType::kFloat16 ||
         type == DataType::kBfloat16;
}

}  // namespace wush
