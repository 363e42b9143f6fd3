// safetensors files: a header that lists tensors, then their bytes.
//
//   u64 little-endian header size | JSON header | tensor bytes
//
// Everything is checked before use: the header's size, each type, shape and
// offset (all size arithmetic for overflow), that no name occurs twice, and
// that the tensors cover the bytes exactly, without gaps or overlaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/checkpoint/data_type.h"
#include "lib/support/input_file.h"

namespace wush {

// "[2, 3]"; "[]" for a scalar.
std::string format_shape(std::span<const int64_t> shape);

struct SafetensorsEntry {
  std::string name;
  DataType type = DataType::kFloat32;
  std::vector<int64_t> shape;  // outermost first; empty for a scalar
  uint64_t offset = 0;         // bytes from the start of the file
  uint64_t size = 0;           // bytes
};

// The tensors that a header lists, sorted by name. `header` is the JSON text,
// `file_size` the bytes of the whole file; `source` names it in messages.
std::vector<SafetensorsEntry> parse_safetensors_header(
    std::string_view header, uint64_t file_size, const std::string& source);

// The entries of a file that is wholly in memory.
std::vector<SafetensorsEntry> parse_safetensors(std::span<const std::byte> file,
                                                const std::string& source);

// An open file. Only its header is held in memory; tensors are read on demand.
class SafetensorsFile {
 public:
  // Errors: InputError naming the file, the tensor, what was expected and
  // found.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const InputFile& file() const { return file_; }
  std::span<const SafetensorsEntry> entries() const { return entries_; }
  const SafetensorsEntry* find(std::string_view name) const;  // null: absent

 private:
  InputFile file_;
  std::vector<SafetensorsEntry> entries_;  // sorted by name
};

}  // namespace wush
