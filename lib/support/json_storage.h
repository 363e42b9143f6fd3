// Storage of a JsonDocument, shared by the parser and the views.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/support/json.h"

namespace wush {

// A range of JsonStorage::strings.
struct JsonCharacters {
  uint32_t offset;
  uint32_t length;
};

struct JsonNode {
  JsonKind kind = JsonKind::kNull;
  bool above_int64 = false;  // an integer held in `natural`
  uint32_t parent = 0;
  uint32_t end = 0;    // index after this value's last descendant
  uint32_t count = 0;  // members or elements
  JsonCharacters key{0, 0};
  union {
    int64_t integer = 0;
    uint64_t natural;
    bool boolean;
    double number;
    JsonCharacters text;
  };
};
static_assert(sizeof(JsonNode) == 32);

struct JsonStorage {
  std::string_view characters(const JsonCharacters& range) const {
    return std::string_view(strings).substr(range.offset, range.length);
  }
  // The JSON pointer (RFC 6901) of a value; empty for the root.
  std::string pointer(uint32_t index) const;

  std::string source;
  std::vector<JsonNode>
      nodes;  // in the order of the text, containers before their values
  std::string strings;
};

}  // namespace wush
