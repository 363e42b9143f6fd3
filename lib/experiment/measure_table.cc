#include "lib/experiment/measure_table.h"

#include <algorithm>
#include <utility>

#include "lib/experiment/throughput_measure.h"
#include "lib/experiment/yaml_values.h"
#include "lib/model/linear_layer.h"
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

void read_layer_loss(const YamlNode& node, const std::string&,
                     Measures& measures) {
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
    layers.push_back(yaml_number(layer));
  }
  std::vector<std::pair<std::string, YamlNode>> repeats;
  for (const auto& [name, count] : measure.repeats) {
    repeats.emplace_back(name, yaml_number(count));
  }
  return yaml_mapping(
      {{"layers", yaml_sequence(std::move(layers))},
       {"windows", yaml_number(measure.windows)},
       {"repeats", yaml_mapping(std::move(repeats))},
       {"moments", yaml_scalar(measure.evaluation_moments ? "evaluation"
                                                          : "calibration")}});
}

std::vector<std::string> linear_names() {
  std::vector<std::string> names;
  for (const LinearInfo& linear : kLinears) names.emplace_back(linear.name);
  return names;
}

void read_equalization(const YamlNode& node, const std::string&,
                       Measures& measures) {
  const MappingReader reader(node, {"layer", "linear", "windows"});
  EqualizationMeasure& measure = measures.equalization.emplace();
  measure.layer = static_cast<int>(
      read_integer(reader.require("layer"), 0, kMostLayers - 1));
  const std::vector<std::string> names = linear_names();
  const YamlNode* linear = reader.find("linear");
  measure.linear =
      linear == nullptr ? names.front() : names[read_choice(*linear, names)];
  if (const YamlNode* windows = reader.find("windows")) {
    measure.windows = read_integer(*windows, 1, kMostWindows);
  }
}

YamlNode resolve_equalization(const Measures& measures) {
  const EqualizationMeasure& measure = *measures.equalization;
  return yaml_mapping({{"layer", yaml_number(measure.layer)},
                       {"linear", yaml_scalar(measure.linear)},
                       {"windows", yaml_number(measure.windows)}});
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
      {"equalization", true, read_equalization,
       [](const Measures& measures) {
         return measures.equalization.has_value();
       },
       resolve_equalization},
      {"perplexity", false,
       [](const YamlNode& node, const std::string&, Measures& measures) {
         check_no_parameters(node);
         measures.perplexity = true;
       },
       [](const Measures& measures) { return measures.perplexity; },
       [](const Measures&) { return yaml_mapping({}); }},
      {"kl", true,
       [](const YamlNode& node, const std::string&, Measures& measures) {
         check_no_parameters(node);
         measures.kl = true;
       },
       [](const Measures& measures) { return measures.kl; },
       [](const Measures&) { return yaml_mapping({}); }},
      {"throughput", false,
       [](const YamlNode& node, const std::string& folder, Measures& measures) {
         measures.throughput = read_throughput(node, folder);
       },
       [](const Measures& measures) { return measures.throughput.has_value(); },
       [](const Measures& measures) {
         return resolve_throughput(*measures.throughput);
       }},
  };
  return table;
}

}  // namespace wush
