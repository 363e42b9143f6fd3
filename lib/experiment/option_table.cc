#include "lib/experiment/option_table.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "lib/experiment/yaml_values.h"

namespace wush {
namespace {

// Canonical text of an option that is one of some names.
template <const auto& kNames>
std::string read_named(const YamlNode& node) {
  const std::vector<std::string> names(kNames.begin(), kNames.end());
  return names[read_choice(node, names)];
}

template <const auto& kNames>
std::size_t index_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::find(kNames.begin(), kNames.end(), text) - kNames.begin());
}

using Names2 = std::array<std::string_view, 2>;
using Names5 = std::array<std::string_view, 5>;

// In the order of the enumerations they name.
constexpr Names2 kMomentsNames = {"marginal", "conditional"};
constexpr Names2 kTransformTypeNames = {"float32", "bfloat16"};
constexpr Names2 kGlobalScaleNames = {"fixed", "amax"};
constexpr Names2 kBlockFallbackNames = {"error", "group"};
constexpr Names2 kSolverFallbackNames = {"error", "rtn"};
constexpr Names5 kTransformBlockNames = {"group", "16", "32", "64", "128"};
constexpr Names2 kBoolNames = {"false", "true"};

std::string read_damping(const YamlNode& node) {
  return number_text(read_number(node, 0, 1));
}

std::string read_seed(const YamlNode& node) {
  return std::to_string(
      read_integer(node, 0, std::numeric_limits<std::int64_t>::max()));
}

std::string read_fuse(const YamlNode& node) {
  return std::string(kBoolNames[read_bool(node) ? 1 : 0]);
}

std::vector<OptionInfo> make_option_table() {
  using Options = QuantizationOptions;
  using Text = const std::string&;
  return {
      {"damping", "0.01", read_damping,
       [](Text text, Options& options) {
         options.damping = std::strtod(text.c_str(), nullptr);
       }},
      {"moments", "marginal", read_named<kMomentsNames>,
       [](Text text, Options& options) {
         options.moments =
             static_cast<MomentsKind>(index_of<kMomentsNames>(text));
       }},
      {"transform_block", "group", read_named<kTransformBlockNames>,
       [](Text text, Options& options) {
         options.transform_block = text == "group" ? 0 : std::stoi(text);
       }},
      {"transform_block_fallback", "error", read_named<kBlockFallbackNames>,
       [](Text text, Options& options) {
         options.transform_block_fallback = text == "group";
       }},
      {"weight_scale", "absmax", read_named<numerics::kScaleRuleNames>,
       [](Text text, Options& options) {
         options.weight_scale = static_cast<numerics::ScaleRule>(
             index_of<numerics::kScaleRuleNames>(text));
       }},
      {"activation_scale", "absmax", read_named<numerics::kScaleRuleNames>,
       [](Text text, Options& options) {
         options.activation_scale = static_cast<numerics::ScaleRule>(
             index_of<numerics::kScaleRuleNames>(text));
       }},
      {"global_scale", "fixed", read_named<kGlobalScaleNames>,
       [](Text text, Options& options) {
         options.global_scale =
             static_cast<GlobalScale>(index_of<kGlobalScaleNames>(text));
       }},
      {"transform_dtype", "float32", read_named<kTransformTypeNames>,
       [](Text text, Options& options) {
         options.transform_dtype =
             static_cast<TransformType>(index_of<kTransformTypeNames>(text));
       }},
      {"fuse", "false", read_fuse,
       [](Text text, Options& options) { options.fuse = text == "true"; }},
      {"solver_fallback", "error", read_named<kSolverFallbackNames>,
       [](Text text, Options& options) {
         options.solver_fallback = text == "rtn";
       }},
      {"seed", "0", read_seed,
       [](Text text, Options& options) {
         options.seed = std::strtoull(text.c_str(), nullptr, 10);
       }},
  };
}

}  // namespace

const std::vector<OptionInfo>& option_table() {
  static const std::vector<OptionInfo> table = make_option_table();
  return table;
}

const OptionInfo* find_option(const std::string& name) {
  for (const OptionInfo& option : option_table()) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::vector<std::string> option_names() {
  std::vector<std::string> names;
  for (const OptionInfo& option : option_table()) names.push_back(option.name);
  return names;
}

std::map<std::string, std::string> default_options() {
  std::map<std::string, std::string> options;
  for (const OptionInfo& option : option_table()) {
    options[option.name] = option.default_text;
  }
  return options;
}

QuantizationOptions to_quantization_options(
    const std::map<std::string, std::string>& options) {
  QuantizationOptions result;
  for (const OptionInfo& option : option_table()) {
    const auto found = options.find(option.name);
    option.apply(found == options.end() ? option.default_text : found->second,
                 result);
  }
  return result;
}

}  // namespace wush
