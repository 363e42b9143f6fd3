#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/json.h"
#include "lib/support/json_storage.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

constexpr size_t kMaxNumberBytes = 1024;      // digits of one number or literal
constexpr size_t kMaxBlankBytes = 64 * 1024;  // white space between two tokens

// What a text can hold at most, counted without parsing it.
struct TextCounts {
  uint64_t values = 1;
  uint64_t string_bytes = 0;
};

[[noreturn]] void refuse(std::string_view text, size_t offset,
                         const std::string& source,
                         const std::string& message) {
  throw InputError(fmt::format("{}:{}", source, line_and_column(text, offset)),
                   message);
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_structural(char c) {
  return c == ',' || c == ':' || c == '[' || c == ']' || c == '{' || c == '}' ||
         c == '"';
}

// Offset of the closing quote of the string that opens at `open`, or the end.
size_t closing_quote(std::string_view text, size_t open) {
  size_t i = open + 1;
  while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
  return std::min(i, text.size());
}

// Bounds every token before the parser, which gathers a token in memory, sees
// it.
TextCounts count_tokens(std::string_view text, const std::string& source,
                        const JsonLimits& limits) {
  TextCounts counts;
  const auto run_end = [&](size_t begin, auto inside) {
    size_t end = begin;
    while (end < text.size() && inside(text[end])) ++end;
    return end;
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    size_t end = i + 1;
    size_t longest = text.size();
    if (c == '"') {
      end = closing_quote(text, i);
      counts.string_bytes += end - i - 1;
      longest = limits.max_string_bytes;
      if (end < text.size()) ++end;
    } else if (c == ',' || c == '[' || c == '{') {
      ++counts.values;
    } else if (is_blank(c)) {
      end = run_end(i, is_blank);
      longest = kMaxBlankBytes;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      // The parser would take a NUL for the end of the text.
      refuse(
          text, i, source,
          fmt::format("expected JSON, found {}", printable(text.substr(i, 1))));
    } else if (!is_structural(c)) {
      end =
          run_end(i, [](char d) { return !is_blank(d) && !is_structural(d); });
      longest = kMaxNumberBytes;
    }
    if (end - i > longest + 2) {
      refuse(text, i, source,
             fmt::format("expected a token of at most {} bytes, found {}",
                         longest, end - i));
    }
    i = end;
  }
  if (counts.values > limits.max_values) {
    throw InputError(source, fmt::format("expected at most {} values, found {}",
                                         limits.max_values, counts.values));
  }
  if (counts.string_bytes > limits.max_total_string_bytes) {
    throw InputError(
        source,
        fmt::format("expected at most {} bytes of strings, found {}",
                    limits.max_total_string_bytes, counts.string_bytes));
  }
  return counts;
}

// "... syntax error while parsing value - unexpected X; expected Y; last read:
// Z" in our own words.
std::string syntax_message(std::string_view what) {
  const size_t dash =
      what.find(" - ", std::min(what.size(), what.find("syntax error")));
  std::string_view found =
      dash == std::string_view::npos ? what : what.substr(dash + 3);
  const auto cut = [&found](std::string_view mark) {
    const size_t at = found.rfind(mark);
    if (at == std::string_view::npos) return std::string_view();
    const std::string_view tail = found.substr(at + mark.size());
    found = found.substr(0, at);
    return tail;
  };
  std::string_view expected = cut("; expected ");
  const std::string_view last_read = cut("; last read: ");
  if (expected.empty()) expected = "JSON";
  constexpr std::string_view kUnexpected = "unexpected ";
  if (found.starts_with(kUnexpected)) found.remove_prefix(kUnexpected.size());
  return fmt::format("expected {}, found {}{}{}", printable(expected, 160),
                     printable(found, 160), last_read.empty() ? "" : " at ",
                     printable(last_read, 80));
}

// Receives the parser's events and fills a document's storage.
class JsonBuilder {
 public:
  using json = nlohmann::json;

  JsonBuilder(std::string_view text, const JsonLimits& limits,
              JsonStorage& storage)
      : text_(text),
        source_(storage.source),
        limits_(limits),
        storage_(storage) {}

  bool null() {
    append(JsonKind::kNull);
    return true;
  }
  bool boolean(bool value) {
    append(JsonKind::kBoolean).boolean = value;
    return true;
  }
  bool number_integer(json::number_integer_t value) {
    append(JsonKind::kInteger).integer = value;
    return true;
  }
  bool number_unsigned(json::number_unsigned_t value) {
    JsonNode& node = append(JsonKind::kInteger);
    node.natural = value;
    node.above_int64 = value > static_cast<uint64_t>(INT64_MAX);
    return true;
  }
  bool number_float(json::number_float_t value, const std::string& digits) {
    append(JsonKind::kNumber).number = value;
    // The parser turns integers beyond 64 bits into floats.
    if (digits.find_first_of(".eE") == std::string::npos) {
      fail_here(fmt::format("expected an integer that fits 64 bits, found {}",
                            printable(digits)));
    }
    return true;
  }
  bool string(std::string& value) {
    append(JsonKind::kString).text = store(value);
    return true;
  }
  bool binary(json::binary_t&) { return false; }  // not part of JSON text
  bool key(std::string& value) {
    key_ = store(value);
    return true;
  }
  bool start_object(size_t) { return open(JsonKind::kObject); }
  bool start_array(size_t) { return open(JsonKind::kArray); }
  bool end_object() {
    check_keys(open_.back());
    return close();
  }
  bool end_array() { return close(); }

  bool parse_error(size_t position, const std::string&,
                   const json::exception& error) {
    const std::string_view what = error.what();
    constexpr std::string_view kOverflow = "number overflow parsing ";
    if (const size_t cut = what.find(kOverflow);
        cut != std::string_view::npos) {
      refuse(text_, offset_before(position), source_,
             fmt::format(
                 "expected a number within the range of a double, found {}",
                 printable(what.substr(cut + kOverflow.size()))));
    }
    refuse(text_, offset_before(position), source_, syntax_message(what));
  }

 private:
  static size_t offset_before(size_t position) {
    return position == 0 ? 0 : position - 1;
  }

  JsonCharacters store(std::string_view value) {
    const auto offset = static_cast<uint32_t>(storage_.strings.size());
    storage_.strings += value;
    return {offset, static_cast<uint32_t>(value.size())};
  }

  JsonNode& append(JsonKind kind) {
    JsonNode node;
    node.kind = kind;
    node.parent = open_.empty() ? 0 : open_.back();
    node.end = static_cast<uint32_t>(storage_.nodes.size() + 1);
    node.key = key_;
    if (!open_.empty()) ++storage_.nodes[node.parent].count;
    storage_.nodes.push_back(node);
    return storage_.nodes.back();
  }

  bool open(JsonKind kind) {
    append(kind);
    open_.push_back(static_cast<uint32_t>(storage_.nodes.size() - 1));
    if (open_.size() > limits_.max_depth) {
      fail_here(fmt::format(
          "expected at most {} nested arrays and objects, found more",
          limits_.max_depth));
    }
    return true;
  }

  bool close() {
    storage_.nodes[open_.back()].end =
        static_cast<uint32_t>(storage_.nodes.size());
    open_.pop_back();
    return true;
  }

  // Sorts indices and not keys: a vocabulary has a million of them.
  void check_keys(uint32_t object) const {
    const auto& nodes = storage_.nodes;
    std::vector<uint32_t> members;
    members.reserve(nodes[object].count);
    for (uint32_t i = object + 1; i < nodes.size(); i = nodes[i].end) {
      members.push_back(i);
    }
    const auto key = [&](uint32_t i) {
      return storage_.characters(nodes[i].key);
    };
    std::sort(members.begin(), members.end(),
              [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
    const auto twice = std::adjacent_find(
        members.begin(), members.end(),
        [&](uint32_t a, uint32_t b) { return key(a) == key(b); });
    if (twice == members.end()) return;
    throw InputError(fmt::format("{}#{}", source_, storage_.pointer(object)),
                     fmt::format("expected each key once, found \"{}\" twice",
                                 printable(key(*twice))));
  }

  [[noreturn]] void fail_here(const std::string& message) const {
    const auto last = static_cast<uint32_t>(storage_.nodes.size() - 1);
    throw InputError(fmt::format("{}#{}", source_, storage_.pointer(last)),
                     message);
  }

  std::string_view text_;
  const std::string& source_;
  const JsonLimits& limits_;
  JsonStorage& storage_;
  std::vector<uint32_t> open_;  // the containers around the next value
  JsonCharacters key_{0, 0};
};

}  // namespace

JsonDocument::JsonDocument(std::unique_ptr<JsonStorage> storage)
    : storage_(std::move(storage)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

const std::string& JsonDocument::source() const { return storage_->source; }

JsonDocument JsonDocument::parse(std::string_view text, std::string source,
                                 const JsonLimits& limits) {
  source = printable(source, 4096);
  if (text.size() > limits.max_bytes) {
    throw InputError(source,
                     fmt::format("expected at most {} bytes of JSON, found {}",
                                 limits.max_bytes, text.size()));
  }
  if (const auto invalid = first_invalid_utf8(text)) {
    refuse(text, *invalid, source,
           fmt::format("expected UTF-8, found {}",
                       printable(text.substr(*invalid, 1))));
  }
  if (text.starts_with("\xEF\xBB\xBF")) {
    refuse(text, 0, source, "expected JSON, found a byte order mark");
  }
  const TextCounts counts = count_tokens(text, source, limits);
  auto storage = std::make_unique<JsonStorage>();
  storage->source = std::move(source);
  storage->nodes.reserve(counts.values);
  storage->strings.reserve(counts.string_bytes);
  JsonBuilder builder(text, limits, *storage);
  const bool complete =
      nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  WUSH_CHECK(complete && !storage->nodes.empty(),
             "JSON of {} ended without a value", storage->source);
  return JsonDocument(std::move(storage));
}

JsonDocument JsonDocument::read(const std::filesystem::path& path,
                                const JsonLimits& limits) {
  return parse(read_input_file(path, limits.max_bytes), path.string(), limits);
}

}  // namespace wush
