// The YAML that experiment files may use: one document of mappings with plain
// keys, sequences and scalars. Anchors, aliases, tags, directives, duplicate
// and complex keys, further documents, and input that is too deep or too large
// are refused, with file:line:column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wush {

inline constexpr std::size_t kMaxYamlBytes = std::size_t{1} << 18;
inline constexpr int kMaxYamlDepth = 32;
inline constexpr std::size_t kMaxYamlNodes = 10'000;

// Where a node stands. Lines and columns count from 1; columns count
// characters.
struct YamlPlace {
  std::shared_ptr<const std::string>
      source;  // file name or command line option
  int line = 1;
  int column = 1;

  std::string to_string() const;  // "file:line:column"
};

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };

  Kind kind = Kind::kNull;
  YamlPlace place;
  std::string text;                // kScalar: the value
  bool quoted = false;             // kScalar: written in quotes or as a block
  std::vector<YamlNode> items;     // kSequence
  std::vector<YamlEntry> entries;  // kMapping, in the order written

  // The value of a key of a mapping; null when there is none.
  const YamlNode* find(std::string_view key) const;
  YamlNode* find(std::string_view key);

  // What an error message calls this node: "a mapping", "'abc'", ...
  std::string description() const;
};

struct YamlEntry {
  std::string key;
  YamlPlace place;  // of the key
  YamlNode value;
};

// Nodes for composing a document in the program; they have no place.
YamlNode yaml_scalar(std::string text);
YamlNode yaml_number(std::int64_t value);
YamlNode yaml_sequence(std::vector<YamlNode> items);
YamlNode yaml_mapping(std::vector<std::pair<std::string, YamlNode>> entries);

// Parses `text`; `source` is what errors call it. An empty text is a kNull
// node. `first_column` is the column of the text's first character (a value
// within a command line option). Throws InputError.
YamlNode parse_yaml(std::string_view text, const std::string& source,
                    int first_column = 1);

// Reads and parses a file of at most kMaxYamlBytes. Throws InputError.
YamlNode read_yaml_file(const std::string& path);

// Canonical text: block mappings, flow sequences, two spaces of indentation,
// scalars quoted only where they have to be. Parsing it gives the same nodes.
std::string format_yaml(const YamlNode& node);

}  // namespace wush
