#include "lib/experiment/yaml_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "lib/support/error.h"

namespace wush {
namespace {

constexpr std::string_view kDigits = "0123456789";

// Removes the digits at the start of `text`; false when there is none.
bool take_digits(std::string_view& text) {
  const std::size_t count =
      std::min(text.find_first_not_of(kDigits), text.size());
  text.remove_prefix(count);
  return count > 0;
}

// -?(0|[1-9][0-9]*), the rest left in `text`.
bool take_integer(std::string_view& text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.starts_with('0')) {
    text.remove_prefix(1);
    return !text.starts_with('0') &&
           !(text.size() > 0 && text[0] >= '1' && text[0] <= '9');
  }
  return take_digits(text);
}

// The number grammar of JSON.
bool is_decimal(std::string_view text) {
  if (!take_integer(text)) return false;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!take_digits(text)) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (!take_digits(text)) return false;
  }
  return text.empty();
}

bool is_integer(std::string_view text) {
  return take_integer(text) && text.empty();
}

bool is_plain_scalar(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && !node.quoted;
}

}  // namespace

void fail_at(const YamlNode& node, const std::string& expected) {
  throw InputError(
      node.place.to_string(),
      fmt::format("expected {}, found {}", expected, node.description()));
}

std::string list_names(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

std::int64_t read_integer(const YamlNode& node, std::int64_t minimum,
                          std::int64_t maximum) {
  const std::string expected =
      fmt::format("an integer from {} to {}", minimum, maximum);
  if (!is_plain_scalar(node) || !is_integer(node.text)) fail_at(node, expected);
  std::int64_t value = 0;
  const char* end = node.text.data() + node.text.size();
  const auto [rest, error] = std::from_chars(node.text.data(), end, value);
  if (error != std::errc() || rest != end || value < minimum ||
      value > maximum) {
    fail_at(node, expected);
  }
  return value;
}

double read_number(const YamlNode& node, double minimum, double maximum) {
  const std::string expected =
      fmt::format("a decimal number from {} to {}", minimum, maximum);
  if (!is_plain_scalar(node) || !is_decimal(node.text)) fail_at(node, expected);
  double value = 0;
  const char* end = node.text.data() + node.text.size();
  const auto [rest, error] = std::from_chars(node.text.data(), end, value);
  if (error != std::errc() || rest != end || !(value >= minimum) ||
      !(value <= maximum)) {
    fail_at(node, expected);
  }
  return value;
}

std::string number_text(double value) { return fmt::format("{}", value); }

bool read_bool(const YamlNode& node) {
  if (is_plain_scalar(node) && node.text == "true") return true;
  if (is_plain_scalar(node) && node.text == "false") return false;
  fail_at(node, "true or false");
}

const std::string& read_string(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar || node.text.empty()) {
    fail_at(node, "a text");
  }
  // Escapes can bring in what the file itself must not contain.
  if (std::any_of(node.text.begin(), node.text.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20;
      })) {
    fail_at(node, "a text of one line without control characters");
  }
  return node.text;
}

const std::string& read_name(const YamlNode& node) {
  constexpr std::string_view kFirst =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::size_t kLongest = 100;
  const auto is_name_character = [&](char c) {
    return kFirst.find(c) != kFirst.npos || c == '.' || c == '_' || c == '-';
  };
  if (node.kind != YamlNode::Kind::kScalar || node.text.empty() ||
      node.text.size() > kLongest ||
      kFirst.find(node.text.front()) == kFirst.npos ||
      !std::all_of(node.text.begin(), node.text.end(), is_name_character)) {
    fail_at(node, "a name of letters, digits, '.', '_' and '-'");
  }
  return node.text;
}

std::size_t read_choice(const YamlNode& node,
                        const std::vector<std::string>& choices) {
  const auto found = std::find(choices.begin(), choices.end(), node.text);
  if (node.kind != YamlNode::Kind::kScalar || found == choices.end()) {
    fail_at(node, list_names(choices));
  }
  return static_cast<std::size_t>(found - choices.begin());
}

const std::vector<YamlNode>& read_list(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kSequence || node.items.empty()) {
    fail_at(node, "a list with at least one entry");
  }
  return node.items;
}

MappingReader::MappingReader(const YamlNode& node,
                             const std::vector<std::string>& keys)
    : node_(node) {
  if (node.kind != YamlNode::Kind::kMapping) {
    fail_at(node, fmt::format("a mapping with the keys {}", list_names(keys)));
  }
  for (const YamlEntry& entry : node.entries) {
    if (std::find(keys.begin(), keys.end(), entry.key) == keys.end()) {
      throw InputError(
          entry.place.to_string(),
          fmt::format("expected the key {}, found {}", list_names(keys),
                      yaml_scalar(entry.key).description()));
    }
  }
}

const YamlNode& MappingReader::require(std::string_view key) const {
  const YamlNode* value = find(key);
  if (value == nullptr) {
    throw InputError(node_.place.to_string(),
                     fmt::format("expected the key '{}', found none", key));
  }
  return *value;
}

}  // namespace wush
