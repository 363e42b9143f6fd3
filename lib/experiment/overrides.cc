#include "lib/experiment/overrides.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "lib/support/error.h"

namespace wush {
namespace {

// The child of `node` under one step of the path, made where absent.
YamlNode& descend(YamlNode& node, const std::string& step,
                  const YamlPlace& place) {
  if (node.kind == YamlNode::Kind::kSequence) {
    std::size_t index = 0;
    const char* end = step.data() + step.size();
    const auto [rest, error] = std::from_chars(step.data(), end, index);
    if (error != std::errc() || rest != end || index >= node.items.size()) {
      throw InputError(place.to_string(),
                       fmt::format("expected a position below {} in the list, "
                                   "found '{}'",
                                   node.items.size(), step));
    }
    return node.items[index];
  }
  if (node.kind == YamlNode::Kind::kScalar) {
    throw InputError(place.to_string(),
                     fmt::format("expected a mapping that can hold '{}', found "
                                 "{} there",
                                 step, node.description()));
  }
  if (node.kind == YamlNode::Kind::kNull) {
    node.kind = YamlNode::Kind::kMapping;
    node.place = place;
  }
  if (YamlNode* child = node.find(step)) return *child;
  node.entries.push_back({step, place, {}});
  node.entries.back().value.place = place;
  return node.entries.back().value;
}

}  // namespace

void apply_override(const std::string& override_text, YamlNode& root) {
  const std::string source = "--set " + override_text;
  const std::size_t equals = override_text.find('=');
  YamlPlace place{std::make_shared<const std::string>(source), 1, 1};
  if (equals == std::string::npos || equals == 0) {
    throw InputError(place.to_string(), "expected key.key=value");
  }
  YamlNode value =
      parse_yaml(std::string_view(override_text).substr(equals + 1), source,
                 static_cast<int>(equals) + 2);
  YamlNode* node = &root;
  for (std::size_t at = 0; at < equals;) {
    const std::size_t end = std::min(override_text.find('.', at), equals);
    place.column = static_cast<int>(at) + 1;
    if (end == at || end + 1 == equals) {
      throw InputError(place.to_string(), "expected a key, found nothing");
    }
    node = &descend(*node, override_text.substr(at, end - at), place);
    at = end + 1;
  }
  if (value.kind == YamlNode::Kind::kNull) {
    value.place = place;
    value.place.column = static_cast<int>(equals) + 2;
  }
  *node = std::move(value);
}

}  // namespace wush
