#include "lib/support/json.h"

#include <fmt/format.h>

#include "lib/support/error.h"
#include "lib/support/json_storage.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

std::string escape_pointer(std::string_view key) {
  std::string out;
  for (const char c : printable(key)) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string JsonStorage::pointer(uint32_t index) const {
  std::vector<std::string> parts;
  while (index != 0) {
    const JsonNode& node = nodes[index];
    if (nodes[node.parent].kind == JsonKind::kObject) {
      parts.push_back(escape_pointer(characters(node.key)));
    } else {
      size_t position = 0;
      for (uint32_t i = node.parent + 1; i < index; i = nodes[i].end)
        ++position;
      parts.push_back(std::to_string(position));
    }
    index = node.parent;
  }
  std::string out;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part)
    out += "/" + *part;
  return out;
}

std::string_view json_kind_name(JsonKind kind) {
  switch (kind) {
    case JsonKind::kNull:
      return "null";
    case JsonKind::kBoolean:
      return "boolean";
    case JsonKind::kInteger:
      return "integer";
    case JsonKind::kNumber:
      return "number";
    case JsonKind::kString:
      return "string";
    case JsonKind::kArray:
      return "array";
    case JsonKind::kObject:
      return "object";
  }
  return "value";
}

JsonKind JsonValue::kind() const { return storage_->nodes[index_].kind; }

std::string JsonValue::where() const {
  return fmt::format("{}#{}", storage_->source, storage_->pointer(index_));
}

std::string JsonValue::describe() const {
  const JsonNode& node = storage_->nodes[index_];
  switch (node.kind) {
    case JsonKind::kBoolean:
      return node.boolean ? "true" : "false";
    case JsonKind::kInteger:
      return node.above_int64 ? fmt::format("{}", node.natural)
                              : fmt::format("{}", node.integer);
    case JsonKind::kNumber:
      return fmt::format("number {}", node.number);
    case JsonKind::kString:
      return fmt::format("string \"{}\"", printable(string()));
    case JsonKind::kArray:
      return fmt::format("array of {}", node.count);
    case JsonKind::kObject:
    case JsonKind::kNull:
      break;
  }
  return std::string(json_kind_name(node.kind));
}

void JsonValue::fail(std::string_view expected) const {
  throw InputError(where(),
                   fmt::format("expected {}, found {}", expected, describe()));
}

void JsonValue::expect(JsonKind wanted) const {
  if (kind() != wanted) fail(json_kind_name(wanted));
}

bool JsonValue::boolean() const {
  expect(JsonKind::kBoolean);
  return storage_->nodes[index_].boolean;
}

int64_t JsonValue::integer() const {
  expect(JsonKind::kInteger);
  const JsonNode& node = storage_->nodes[index_];
  if (node.above_int64) fail("integer below 2^63");
  return node.integer;
}

int64_t JsonValue::integer_in(int64_t lowest, int64_t highest) const {
  expect(JsonKind::kInteger);
  const JsonNode& node = storage_->nodes[index_];
  if (node.above_int64 || node.integer < lowest || node.integer > highest) {
    fail(fmt::format("integer from {} to {}", lowest, highest));
  }
  return node.integer;
}

uint64_t JsonValue::unsigned_integer() const {
  expect(JsonKind::kInteger);
  const JsonNode& node = storage_->nodes[index_];
  if (!node.above_int64 && node.integer < 0) fail("integer of at least 0");
  return node.natural;
}

double JsonValue::number() const {
  const JsonNode& node = storage_->nodes[index_];
  if (node.kind == JsonKind::kNumber) return node.number;
  if (node.kind != JsonKind::kInteger) fail("number");
  constexpr int64_t kExact = int64_t{1} << 53;
  if (node.above_int64 || node.integer < -kExact || node.integer > kExact) {
    fail("number that a double holds exactly");
  }
  return static_cast<double>(node.integer);
}

std::string_view JsonValue::string() const {
  expect(JsonKind::kString);
  return storage_->characters(storage_->nodes[index_].text);
}

size_t JsonValue::size() const {
  const JsonNode& node = storage_->nodes[index_];
  if (node.kind != JsonKind::kArray && node.kind != JsonKind::kObject)
    fail("array or object");
  return node.count;
}

std::optional<JsonValue> JsonValue::find(std::string_view key) const {
  expect(JsonKind::kObject);
  const JsonStorage& storage = *storage_;
  for (uint32_t i = index_ + 1; i < storage.nodes[index_].end;
       i = storage.nodes[i].end) {
    if (storage.characters(storage.nodes[i].key) == key)
      return JsonValue(storage_, i);
  }
  return std::nullopt;
}

std::optional<JsonValue> JsonValue::find_non_null(std::string_view key) const {
  auto value = find(key);
  if (value && value->is_null()) value.reset();
  return value;
}

JsonValue JsonValue::at(std::string_view key) const {
  if (auto value = find(key)) return *value;
  throw InputError(
      where(), fmt::format("expected key \"{}\", found none", printable(key)));
}

uint32_t JsonValue::end_of(uint32_t index) const {
  return storage_->nodes[index].end;
}

std::string_view JsonValue::key_of(uint32_t index) const {
  return storage_->characters(storage_->nodes[index].key);
}

std::vector<std::pair<std::string_view, JsonValue>> JsonValue::members() const {
  std::vector<std::pair<std::string_view, JsonValue>> out;
  if (is_object()) out.reserve(size());
  for_each_member([&out](std::string_view key, const JsonValue& value) {
    out.emplace_back(key, value);
  });
  return out;
}

std::vector<JsonValue> JsonValue::elements() const {
  std::vector<JsonValue> out;
  if (is_array()) out.reserve(size());
  for_each_element([&out](const JsonValue& value) { out.push_back(value); });
  return out;
}

}  // namespace wush
