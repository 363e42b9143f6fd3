// Element types of the tensors in a safetensors file.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace wush {

// The types that safetensors names. Weights are read from kFloat32, kFloat16
// and kBfloat16; the others can be listed, not read.
enum class DataType : uint8_t {
  kBool,
  kUint8,
  kInt8,
  kFloat8E5m2,
  kFloat8E4m3,
  kFloat8E8m0,
  kUint16,
  kInt16,
  kFloat16,
  kBfloat16,
  kUint32,
  kInt32,
  kFloat32,
  kUint64,
  kInt64,
  kFloat64,
};

// The name in the file: "F32", "BF16", "F8_E4M3", ...
std::string_view data_type_name(DataType type);
// The type of that name, if there is one.
std::optional<DataType> find_data_type(std::string_view name);
// Bytes of one element.
uint64_t data_type_size(DataType type);
// True for the types that weights are read from.
bool is_weight_type(DataType type);

}  // namespace wush
