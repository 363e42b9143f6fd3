#include "lib/checkpoint/shards.h"

#include <fmt/format.h>

#include <set>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/json.h"

namespace wush {
namespace {

constexpr uint64_t kMaxIndexBytes = 16 << 20;
constexpr uint32_t kMaxIndexValues = 1 << 17;  // tensors, about
constexpr size_t kMaxShards = 512;             // each is an open file
constexpr size_t kMaxFileNameBytes = 255;
constexpr std::string_view kExtension = ".safetensors";

// Plain names cannot leave the directory. The files themselves may be links:
// the download cache of the hub is made of them.
std::string checked_file_name(const JsonValue& value) {
  const std::string_view name = value.string();
  const bool plain = name.find_first_of("/\\") == std::string_view::npos &&
                     name.find('\0') == std::string_view::npos;
  if (!plain || !name.ends_with(kExtension) || name.starts_with('.') ||
      name.size() > kMaxFileNameBytes) {
    value.fail("a plain file name that ends in .safetensors");
  }
  return std::string(name);
}

}  // namespace

WeightMap parse_shard_index(std::string_view text, const std::string& source) {
  const JsonDocument document =
      JsonDocument::parse(text, source,
                          {.max_bytes = kMaxIndexBytes,
                           .max_depth = 8,
                           .max_values = kMaxIndexValues});
  const JsonValue entries = document.root().at("weight_map");
  WeightMap map;
  std::set<std::string_view> files;
  for (const auto& [name, value] : entries.members()) {
    const auto [entry, added] =
        map.emplace(std::string(name), checked_file_name(value));
    files.insert(entry->second);
    if (files.size() > kMaxShards) {
      value.fail(fmt::format("at most {} different files", kMaxShards));
    }
  }
  if (map.empty()) entries.fail("at least one tensor");
  return map;
}

WeightMap read_shard_index(const std::filesystem::path& path) {
  return parse_shard_index(read_input_file(path, kMaxIndexBytes),
                           path.string());
}

}  // namespace wush
