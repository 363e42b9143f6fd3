// Strict reading of typed values from YAML nodes. Every function throws
// InputError with the node's file:line:column, what was expected and what was
// found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/experiment/yaml_document.h"

namespace wush {

[[noreturn]] void fail_at(const YamlNode& node, const std::string& expected);

// "a, b or c"
std::string list_names(const std::vector<std::string>& names);

// Decimal integers only: no octal, hexadecimal, underscores or exponents.
std::int64_t read_integer(const YamlNode& node, std::int64_t minimum,
                          std::int64_t maximum);
// Decimal numbers only, as JSON writes them; nothing that overflows.
double read_number(const YamlNode& node, double minimum, double maximum);
// The shortest decimal text that reads as `value`.
std::string number_text(double value);
// `true` or `false`.
bool read_bool(const YamlNode& node);
// A scalar that is not empty.
const std::string& read_string(const YamlNode& node);
// Letters, digits, '.', '_' and '-', beginning with a letter or digit: what can
// be the name of a file.
const std::string& read_name(const YamlNode& node);
// Index into `choices`.
std::size_t read_choice(const YamlNode& node,
                        const std::vector<std::string>& choices);
// The items of a list that is not empty.
const std::vector<YamlNode>& read_list(const YamlNode& node);

// A mapping in which every key must be among `keys`.
class MappingReader {
 public:
  MappingReader(const YamlNode& node, const std::vector<std::string>& keys);

  const YamlNode* find(std::string_view key) const { return node_.find(key); }
  const YamlNode& require(std::string_view key) const;
  const YamlNode& node() const { return node_; }

 private:
  const YamlNode& node_;
};

}  // namespace wush
