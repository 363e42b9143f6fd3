#include "lib/experiment/measure_table.h"

#include <algorithm>
#include <utility>

#include "lib/experiment/yaml_values.h"
#include "lib/transform/transform.h"

namespace wush {
namespace {

constexpr std::int64_t kMostLayers = 100'000;
constexpr std::int64_t kMostWindows = 1 << 30;
constexpr std::int64_t kMostRepeats = 1000;

std::vector<int> read_layers(const YamlNode& node) {
  std::vector<int> layers;
  for (const YamlNode& item : read_list(node)) {
    const int layer = static_cast<int>(read_integer(item, 0, kMostLayers - 1));
    if (std::find(layers.begin(), layers.end(), layer) != layers.end()) {
      fail_at(item, "each layer once");
    }
    layers.push_back(layer);
  }
  return layers;
}

std::map<std::string, int> read_repeats(const YamlNode& node) {
  std::vector<std::string> names;
  for (const TransformInfo& info : transform_registry()) {
    names.push_back(info.name);
  }
  std::map<std::string, int> repeats;
  for (const YamlEntry& entry : MappingReader(node, names).node().entries) {
    repeats[entry.key] =
        static_cast<int>(read_integer(entry.value, 1, kMostRepeats));
  }
  return repeats;
}

void read_layer_loss(const YamlNode& node, Measures& measures) {
  const MappingReader reader(node, {"layers", "windows", "repeats", "moments"});
  LayerLossMeasure& measure = measures.layer_loss.emplace();
  measure.layers = read_layers(reader.require("layers"));
  if (const YamlNode* windows = reader.find("windows")) {
    measure.windows = read_integer(*windows, 1, kMostWindows);
  }
  if (const YamlNode* repeats = reader.find("repeats")) {
    measure.repeats = read_repeats(*repeats);
  }
  if (const YamlNode* moments = reader.find("moments")) {
    measure.evaluation_moments =
        read_choice(*moments, {"evaluation", "calibration"}) == 0;
  }
}

YamlNode resolve_layer_loss(const Measures& measures) {
  const LayerLossMeasure& measure = *measures.layer_loss;
  std::vector<YamlNode> layers;
  for (const int layer : measure.layers) {
    layers.push_back(yaml_scalar(std::to_string(layer)));
  }
  std::vector<std::pair<std::string, YamlNode>> repeats;
  for (const auto& [name, count] : measure.repeats) {
    repeats.emplace_back(name, yaml_scalar(std::to_string(count)));
  }
  return yaml_mapping(
      {{"layers", yaml_sequence(std::move(layers))},
       {"windows", yaml_scalar(std::to_string(measure.windows))},
       {"repeats", yaml_mapping(std::move(repeats))},
       {"moments", yaml_scalar(measure.evaluation_moments ? "evaluation"
                                                          : "calibration")}});
}

// For measurements without parameters.
void check_no_parameters(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kMapping || !node.entries.empty()) {
    fail_at(node, "an empty mapping {}");
  }
}

}  // namespace

const std::vector<MeasureInfo>& measure_table() {
  static const std::vector<MeasureInfo> table = {
      {"layer_loss", true, read_layer_loss,
       [](const Measures& measures) { return measures.layer_loss.has_value(); },
       resolve_layer_loss},
      {"perplexity", false,
       [](const YamlNode& node, Measures& measures) {
         check_no_parameters(node);
         measures.perplexity = true;
       },
       [](const Measures& measures) { return measures.perplexity; },
       [](const Measures&) { return yaml_mapping({}); }},
      {"kl", true,
       [](const YamlNode& node, Measures& measures) {
         check_no_parameters(node);
         measures.kl = true;
       },
       [](const Measures& measures) { return measures.kl; },
       [](const Measures&) { return yaml_mapping({}); }},
  };
  return table;
}

}  // namespace wush
