// Strict reading of JSON from files that may be malformed or hostile.
//
// A document is refused, with one line that names the place, when it is not
// RFC 8259 JSON in UTF-8 without a byte order mark, repeats a key, nests too
// deep, or is larger than its limits; an integer that fits neither int64 nor
// uint64 is an error, never a rounded float. Nothing recurses on the input's
// depth, and storage is reserved only after counting what the text can hold.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wush {

enum class JsonKind : uint8_t {
  kNull,
  kBoolean,
  kInteger,
  kNumber,
  kString,
  kArray,
  kObject
};

// "null", "boolean", "integer", "number", "string", "array", "object".
std::string_view json_kind_name(JsonKind kind);

// What a document may hold. A value costs 32 bytes beside its characters.
struct JsonLimits {
  uint64_t max_bytes = uint64_t{16} << 20;
  uint32_t max_depth = 32;  // nesting of arrays and objects
  uint32_t max_values = uint32_t{1}
                        << 20;  // scalars, arrays and objects together
  uint32_t max_string_bytes = uint32_t{1} << 20;         // one key or string
  uint32_t max_total_string_bytes = uint32_t{16} << 20;  // all of them
};

struct JsonStorage;  // values and characters of a document

// A view of one value of a JsonDocument, which has to outlive it (it may move).
// Every getter throws InputError("file#/json/pointer", "expected ..., found
// ...") when the value is not what is asked for.
class JsonValue {
 public:
  JsonKind kind() const;
  bool is_null() const { return kind() == JsonKind::kNull; }
  bool is_object() const { return kind() == JsonKind::kObject; }
  bool is_array() const { return kind() == JsonKind::kArray; }
  bool is_string() const { return kind() == JsonKind::kString; }
  bool is_integer() const { return kind() == JsonKind::kInteger; }

  bool boolean() const;
  int64_t integer() const;  // 1.0 and 1e3 are not integers
  int64_t integer_in(int64_t lowest,
                     int64_t highest) const;  // both ends included
  uint64_t unsigned_integer() const;
  double number() const;  // also from integers up to 2^53 in magnitude
  std::string_view string() const;

  // Objects. Members keep the order of the file.
  bool contains(std::string_view key) const { return find(key).has_value(); }
  JsonValue at(std::string_view key) const;  // an error when absent
  std::optional<JsonValue> find(
      std::string_view key) const;  // none when absent
  std::optional<JsonValue> find_non_null(
      std::string_view key) const;  // none also for null
  std::vector<std::pair<std::string_view, JsonValue>> members() const;

  // Arrays.
  std::vector<JsonValue> elements() const;

  // Calls visit(key, value) for every member, or visit(value) for every
  // element, without a list of them all: for vocabularies.
  template <typename Visit>
  void for_each_member(Visit&& visit) const {
    expect(JsonKind::kObject);
    for (uint32_t i = index_ + 1; i < end_of(index_); i = end_of(i)) {
      visit(key_of(i), JsonValue(storage_, i));
    }
  }
  template <typename Visit>
  void for_each_element(Visit&& visit) const {
    expect(JsonKind::kArray);
    for (uint32_t i = index_ + 1; i < end_of(index_); i = end_of(i)) {
      visit(JsonValue(storage_, i));
    }
  }

  size_t size() const;  // members or elements

  // "file#/json/pointer", for messages.
  std::string where() const;

  // Throws InputError(where(), "expected <expected>, found <this value>").
  [[noreturn]] void fail(std::string_view expected) const;
  // The value in a message: strings quoted and cut, containers by their kind.
  std::string describe() const;

 private:
  friend class JsonDocument;
  JsonValue(const JsonStorage* storage, uint32_t index)
      : storage_(storage), index_(index) {}
  void expect(JsonKind kind) const;
  uint32_t end_of(uint32_t index) const;  // after its last descendant
  std::string_view key_of(uint32_t index) const;

  const JsonStorage* storage_;
  uint32_t index_;
};

class JsonDocument {
 public:
  // `source` names the text in messages: a path, or "path:line" for JSON lines.
  static JsonDocument parse(std::string_view text, std::string source,
                            const JsonLimits& limits = {});
  static JsonDocument read(const std::filesystem::path& path,
                           const JsonLimits& limits = {});

  JsonDocument(JsonDocument&&) noexcept;
  ~JsonDocument();

  JsonValue root() const { return {storage_.get(), 0}; }
  const std::string& source() const;

 private:
  explicit JsonDocument(std::unique_ptr<JsonStorage> storage);

  std::unique_ptr<JsonStorage> storage_;
};

}  // namespace wush
