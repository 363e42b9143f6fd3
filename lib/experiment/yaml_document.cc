#include "lib/experiment/yaml_document.h"

#include <fmt/format.h>
#include <yaml-cpp/anchor.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <unordered_set>

#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

// Turns byte offsets into places. Offsets come almost in ascending order, so
// the search goes on from the last one.
class PlaceFinder {
 public:
  PlaceFinder(std::string_view text, const std::string& source,
              int first_column)
      : text_(text),
        source_(std::make_shared<const std::string>(source)),
        first_column_(first_column),
        column_(first_column) {}

  YamlPlace find(std::size_t offset) {
    offset = std::min(offset, text_.size());
    if (offset < offset_) {
      offset_ = 0;
      line_ = 1;
      column_ = first_column_;
    }
    for (; offset_ < offset; ++offset_) {
      const auto byte = static_cast<unsigned char>(text_[offset_]);
      if (byte == '\n') {
        ++line_;
        column_ = 1;
      } else if ((byte & 0xC0) != 0x80) {  // not a continuation of UTF-8
        ++column_;
      }
    }
    return {source_, line_, column_};
  }

 private:
  std::string_view text_;
  std::shared_ptr<const std::string> source_;
  int first_column_;
  std::size_t offset_ = 0;
  int line_ = 1;
  int column_;
};

// What has to hold before the parser may see the text.
void check_characters(std::string_view text, PlaceFinder& places) {
  if (const auto invalid = first_invalid_utf8(text)) {
    throw InputError(places.find(*invalid).to_string(),
                     fmt::format("expected UTF-8, found the byte 0x{:02x}",
                                 static_cast<unsigned char>(text[*invalid])));
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_space = byte == '\t' || byte == '\n' || byte == '\r';
    if ((byte < 0x20 && !is_space) || byte == 0x7F) {
      throw InputError(
          places.find(i).to_string(),
          fmt::format("expected text, found the control character 0x{:02x}",
                      byte));
    }
  }
}

// Directives come before the first content of a document.
void check_directives(std::string_view text, PlaceFinder& places) {
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    if (line.starts_with('%')) {
      throw InputError(places.find(start).to_string(),
                       "expected a key, found a YAML directive");
    }
    const std::size_t content = line.find_first_not_of(" \t\r");
    if (content != std::string_view::npos && line[content] != '#') return;
    start = end + 1;
  }
}

// Builds the tree from the parser's events, without recursion.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, PlaceFinder& places)
      : text_(text), places_(places) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      fail(mark, "expected one document, found a further one");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check_properties(mark, "?", anchor);
    if (expects_key()) fail(mark, "expected a key, found nothing");
    add(make(YamlNode::Kind::kNull, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(mark, "expected a value, found an alias (aliases are not allowed)");
  }
  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    fail(mark, fmt::format("expected a value, found the anchor '&{}' "
                           "(anchors are not allowed)",
                           printable(name)));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor, const std::string& value) override {
    check_properties(mark, tag, anchor);
    check_closed(mark);
    if (expects_key()) {
      add_key(mark, value);
      return;
    }
    YamlNode node = make(YamlNode::Kind::kScalar, mark);
    node.text = value;
    node.quoted = tag == "!";
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMapping, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    YamlNode node;
    std::unordered_set<std::string> keys;
    bool has_key = false;  // the last entry waits for its value
  };

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& message) {
    throw InputError(place(mark).to_string(), message);
  }

  YamlPlace place(const YAML::Mark& mark) {
    return places_.find(static_cast<std::size_t>(std::max(mark.pos, 0)));
  }

  YamlNode make(YamlNode::Kind kind, const YAML::Mark& mark) {
    if (++nodes_ > kMaxYamlNodes) {
      fail(mark, fmt::format("expected at most {} values, found more",
                             kMaxYamlNodes));
    }
    YamlNode node;
    node.kind = kind;
    node.place = place(mark);
    return node;
  }

  void check_properties(const YAML::Mark& mark, const std::string& tag,
                        YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      fail(mark, "expected a value, found an anchor (anchors are not allowed)");
    }
    // The parser itself tags plain scalars "?" and quoted ones "!".
    const auto offset = static_cast<std::size_t>(std::max(mark.pos, 0));
    const bool written = offset < text_.size() && text_[offset] == '!';
    if (written || (!tag.empty() && tag != "?" && tag != "!")) {
      fail(mark, fmt::format("expected a value, found the tag '{}' (tags are "
                             "not allowed)",
                             printable(tag)));
    }
  }

  // The parser takes the end of the file for the end of a quoted scalar.
  void check_closed(const YAML::Mark& mark) {
    const auto offset = static_cast<std::size_t>(std::max(mark.pos, 0));
    if (offset >= text_.size()) return;
    const char quote = text_[offset];
    if (quote != '"' && quote != '\'') return;
    for (std::size_t i = offset + 1; i < text_.size(); ++i) {
      const bool is_doubled = i + 1 < text_.size() && text_[i + 1] == quote;
      if (quote == '"' ? text_[i] == '\\' : text_[i] == quote && is_doubled) {
        ++i;  // an escaped character
      } else if (text_[i] == quote) {
        return;
      }
    }
    fail(mark, "expected a closing quote, found the end of the text");
  }

  bool expects_key() const {
    return !stack_.empty() &&
           stack_.back().node.kind == YamlNode::Kind::kMapping &&
           !stack_.back().has_key;
  }

  void add_key(const YAML::Mark& mark, const std::string& key) {
    Frame& frame = stack_.back();
    if (!frame.keys.insert(key).second) {
      fail(mark, fmt::format("expected each key once, found '{}' again",
                             printable(key)));
    }
    frame.node.entries.push_back({key, place(mark), {}});
    frame.has_key = true;
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    check_properties(mark, tag, anchor);
    if (expects_key()) {
      fail(mark, "expected a plain key, found a list or a mapping as key");
    }
    if (stack_.size() >= static_cast<std::size_t>(kMaxYamlDepth)) {
      fail(mark, fmt::format("expected at most {} levels, found more",
                             kMaxYamlDepth));
    }
    stack_.push_back({make(kind, mark), {}, false});
  }

  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = stack_.back();
    if (frame.node.kind == YamlNode::Kind::kSequence) {
      frame.node.items.push_back(std::move(node));
    } else {
      YamlEntry& entry = frame.node.entries.back();
      // The parser places a value that is absent at what comes next.
      if (node.kind == YamlNode::Kind::kNull) node.place = entry.place;
      entry.value = std::move(node);
      frame.has_key = false;
    }
  }

  std::string_view text_;
  PlaceFinder& places_;
  std::vector<Frame> stack_;
  YamlNode root_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
};

bool is_plain(const std::string& text) {
  constexpr std::string_view kWord =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-";
  if (text.empty() || text == "null" || text == "Null" || text == "NULL") {
    return false;
  }
  if (text.front() == '-' && (text.size() == 1 || text[1] == '-')) return false;
  if (text.starts_with("...")) return false;  // ends a document
  return text.find_first_not_of(kWord) == std::string::npos;
}

void append_scalar(std::string& out, const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kNull) {
    out += "null";
    return;
  }
  if (is_plain(node.text) && !node.quoted) {
    out += node.text;
    return;
  }
  out += '"';
  for (const char c : node.text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_key(std::string& out, const std::string& key) {
  append_scalar(out, yaml_scalar(key));
  out += ':';
}

void append_flow(std::string& out, const YamlNode& node) {
  const char* separator = "";
  switch (node.kind) {
    case YamlNode::Kind::kSequence:
      out += '[';
      for (const YamlNode& item : node.items) {
        out += separator;
        append_flow(out, item);
        separator = ", ";
      }
      out += ']';
      return;
    case YamlNode::Kind::kMapping:
      out += '{';
      for (const YamlEntry& entry : node.entries) {
        out += separator;
        append_key(out, entry.key);
        out += ' ';
        append_flow(out, entry.value);
        separator = ", ";
      }
      out += '}';
      return;
    case YamlNode::Kind::kNull:
    case YamlNode::Kind::kScalar:
      append_scalar(out, node);
  }
}

void append_block(std::string& out, const YamlNode& node, int indentation) {
  for (const YamlEntry& entry : node.entries) {
    out.append(static_cast<std::size_t>(indentation), ' ');
    append_key(out, entry.key);
    if (entry.value.kind == YamlNode::Kind::kMapping &&
        !entry.value.entries.empty()) {
      out += '\n';
      append_block(out, entry.value, indentation + 2);
    } else {
      out += ' ';
      append_flow(out, entry.value);
      out += '\n';
    }
  }
}

}  // namespace

std::string YamlPlace::to_string() const {
  return fmt::format("{}:{}:{}", source ? *source : "(program)", line, column);
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const YamlEntry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

YamlNode* YamlNode::find(std::string_view key) {
  return const_cast<YamlNode*>(std::as_const(*this).find(key));
}

std::string YamlNode::description() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kSequence:
      return items.empty() ? "an empty list" : "a list";
    case Kind::kMapping:
      return "a mapping";
    case Kind::kScalar:
      break;
  }
  return (quoted ? "the string '" : "'") + printable(text) + "'";
}

YamlNode yaml_scalar(std::string text) {
  YamlNode node;
  node.kind = YamlNode::Kind::kScalar;
  node.text = std::move(text);
  return node;
}

YamlNode yaml_number(std::int64_t value) {
  return yaml_scalar(std::to_string(value));
}

YamlNode yaml_sequence(std::vector<YamlNode> items) {
  YamlNode node;
  node.kind = YamlNode::Kind::kSequence;
  node.items = std::move(items);
  return node;
}

YamlNode yaml_mapping(std::vector<std::pair<std::string, YamlNode>> entries) {
  YamlNode node;
  node.kind = YamlNode::Kind::kMapping;
  for (auto& [key, value] : entries) {
    node.entries.push_back({std::move(key), {}, std::move(value)});
  }
  return node;
}

YamlNode parse_yaml(std::string_view text, const std::string& source,
                    int first_column) {
  if (text.size() > kMaxYamlBytes) {
    throw InputError(source, fmt::format("expected at most {} bytes, found {}",
                                         kMaxYamlBytes, text.size()));
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  PlaceFinder places(text, source, first_column);
  check_characters(text, places);
  check_directives(text, places);
  TreeBuilder builder(text, places);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    const auto offset = static_cast<std::size_t>(std::max(error.mark.pos, 0));
    throw InputError(places.find(offset).to_string(),
                     "expected YAML, found an error: " + error.msg);
  }
  return builder.take();
}

YamlNode read_yaml_file(const std::string& path) {
  return parse_yaml(read_input_file(path, kMaxYamlBytes), path);
}

std::string format_yaml(const YamlNode& node) {
  std::string out;
  if (node.kind == YamlNode::Kind::kMapping && !node.entries.empty()) {
    append_block(out, node, 0);
  } else {
    append_flow(out, node);
    out += '\n';
  }
  return out;
}

}  // namespace wush
