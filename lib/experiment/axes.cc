#include "lib/experiment/axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/numerics/format.h"
#include "lib/experiment/option_table.h"
#include "lib/experiment/yaml_values.h"
#include "lib/solver/registry.h"
#include "lib/support/error.h"
#include "lib/transform/transform.h"

namespace wush {
namespace {

constexpr double kLargestLambda = 2;

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const numerics::BlockFormat& format : numerics::kBlockFormats) {
    names.emplace_back(format.name);
  }
  return names;
}

std::vector<std::string> transform_names() {
  std::vector<std::string> names;
  for (const TransformInfo& info : transform_registry()) {
    names.push_back(info.name);
  }
  return names;
}

std::vector<std::string> solver_names() {
  std::vector<std::string> names;
  for (const SolverInfo& info : solver_registry()) names.push_back(info.name);
  return names;
}

// Parameters that entries of this kind have beside the options.
std::vector<std::string> own_parameters(const std::string& axis,
                                        const std::string& kind) {
  if (axis != "transform") return {};
  const auto& registry = transform_registry();
  const auto info =
      std::find_if(registry.begin(), registry.end(),
                   [&](const TransformInfo& i) { return i.name == kind; });
  return info->takes_lambda ? std::vector<std::string>{"lambda"}
                            : std::vector<std::string>{};
}

std::string read_parameter(const std::string& name, const YamlNode& node) {
  if (name == "lambda") {
    return number_text(read_number(node, 0, kLargestLambda));
  }
  return find_option(name)->read(node);
}

bool is_named_axis(const std::string& name) {
  return name == "format" || name == "transform" || name == "method";
}

std::string read_kind(const std::string& axis, const YamlNode& node) {
  const std::vector<std::string> names = axis == "format" ? format_names()
                                         : axis == "transform"
                                             ? transform_names()
                                             : solver_names();
  return names[read_choice(node, names)];
}

// Every combination of `values` with the texts of one more parameter.
std::vector<AxisValue> combine(const std::vector<AxisValue>& values,
                               const std::string& name, const YamlNode& node) {
  std::vector<AxisValue> combined;
  const bool is_list = node.kind == YamlNode::Kind::kSequence;
  const std::size_t count = is_list ? read_list(node).size() : 1;
  for (const AxisValue& value : values) {
    for (std::size_t i = 0; i < count; ++i) {
      AxisValue next = value;
      next.parameters[name] =
          read_parameter(name, is_list ? node.items[i] : node);
      combined.push_back(std::move(next));
    }
  }
  return combined;
}

// One entry: a scalar, or a mapping {kind: ..., parameters and options}.
std::vector<AxisValue> read_entry(const std::string& axis, const YamlNode& node,
                                  bool parameters_required) {
  if (!is_named_axis(axis)) {
    return {{find_option(axis)->read(node), {}, node.place}};
  }
  const bool is_mapping = node.kind == YamlNode::Kind::kMapping;
  const YamlNode* kind_node = is_mapping ? node.find("kind") : &node;
  if (kind_node == nullptr) {
    throw InputError(node.place.to_string(),
                     "expected the key 'kind', found none");
  }
  const std::string kind = read_kind(axis, *kind_node);
  const std::vector<std::string> own = own_parameters(axis, kind);
  std::vector<AxisValue> values = {{kind, {}, node.place}};
  if (is_mapping) {
    std::vector<std::string> keys = {"kind"};
    keys.insert(keys.end(), own.begin(), own.end());
    for (const std::string& name : option_names()) keys.push_back(name);
    for (const YamlEntry& entry : MappingReader(node, keys).node().entries) {
      if (entry.key == "kind") continue;
      values = combine(values, entry.key, entry.value);
    }
  }
  for (const std::string& name : own) {
    if (parameters_required && !values.front().parameters.contains(name)) {
      throw InputError(
          node.place.to_string(),
          fmt::format("expected the parameter {0} of {1}, as in {{kind: {1}, "
                      "{0}: ...}}, found none",
                      name, kind));
    }
  }
  return values;
}

std::vector<AxisValue> read_entries(const std::string& name,
                                    const YamlNode& node,
                                    bool parameters_required) {
  const bool is_list = node.kind == YamlNode::Kind::kSequence;
  const std::size_t count = is_list ? read_list(node).size() : 1;
  std::vector<AxisValue> values;
  for (std::size_t i = 0; i < count; ++i) {
    const YamlNode& item = is_list ? node.items[i] : node;
    for (AxisValue& value : read_entry(name, item, parameters_required)) {
      if (std::find(values.begin(), values.end(), value) != values.end()) {
        fail_at(item, "each value once");
      }
      values.push_back(std::move(value));
    }
  }
  return values;
}

}  // namespace

std::vector<std::string> axis_names() {
  std::vector<std::string> names = {"format", "transform", "method"};
  for (std::string& name : option_names()) names.push_back(std::move(name));
  return names;
}

Axis read_axis(const std::string& name, const YamlNode& node) {
  return {name, read_entries(name, node, true)};
}

Condition read_condition(const std::string& name, const YamlNode& node,
                         const std::vector<std::string>& model_names) {
  if (name != "model") return {name, read_entries(name, node, false)};
  Condition condition{name, {}};
  const bool is_list = node.kind == YamlNode::Kind::kSequence;
  const std::size_t count = is_list ? read_list(node).size() : 1;
  for (std::size_t i = 0; i < count; ++i) {
    const YamlNode& item = is_list ? node.items[i] : node;
    condition.alternatives.push_back(
        {model_names[read_choice(item, model_names)], {}, item.place});
  }
  return condition;
}

YamlNode resolve_axis_value(const AxisValue& value) {
  if (value.parameters.empty()) return yaml_scalar(value.kind);
  std::vector<std::pair<std::string, YamlNode>> entries = {
      {"kind", yaml_scalar(value.kind)}};
  for (const auto& [name, text] : value.parameters) {
    entries.emplace_back(name, yaml_scalar(text));
  }
  return yaml_mapping(std::move(entries));
}

}  // namespace wush
