#include "lib/experiment/throughput_measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "lib/checkpoint/architectures.h"
#include "lib/experiment/paths.h"
#include "lib/experiment/yaml_values.h"
#include "lib/support/error.h"

namespace wush {
namespace {

constexpr std::int64_t kMostTokens = 1 << 20;
constexpr std::int64_t kLargestSize = 1 << 20;
constexpr std::int64_t kMostRepeats = 100'000;

std::vector<std::int64_t> read_tokens(const YamlNode& node) {
  std::vector<std::int64_t> tokens;
  for (const YamlNode& item : read_list(node)) {
    const std::int64_t value = read_integer(item, 1, kMostTokens);
    if (std::find(tokens.begin(), tokens.end(), value) != tokens.end()) {
      fail_at(item, "each number of tokens once");
    }
    tokens.push_back(value);
  }
  return tokens;
}

LayerShape read_shape(const MappingReader& reader) {
  return {"", read_integer(reader.require("outputs"), 1, kLargestSize),
          read_integer(reader.require("inputs"), 1, kLargestSize)};
}

// Shapes are told apart by their sizes, which is what a table shows.
void add_layer(const YamlNode& item, LayerShape shape,
               std::vector<LayerShape>& layers) {
  for (const LayerShape& other : layers) {
    if (other.outputs == shape.outputs && other.inputs == shape.inputs) {
      throw InputError(item.place.to_string(),
                       fmt::format("expected each shape once, found outputs {} "
                                   "and inputs {} again",
                                   shape.outputs, shape.inputs));
    }
  }
  layers.push_back(std::move(shape));
}

ThroughputModel read_shapes(const YamlNode& node) {
  ThroughputModel model{kShapesModel, {}};
  for (const YamlNode& item : read_list(node)) {
    add_layer(item, read_shape(MappingReader(item, {"outputs", "inputs"})),
              model.layers);
  }
  return model;
}

ThroughputModel read_layers(const YamlNode& node) {
  const MappingReader reader(node, {"name", "layers"});
  ThroughputModel model{read_name(reader.require("name")), {}};
  for (const YamlNode& item : read_list(reader.require("layers"))) {
    const MappingReader layer(item, {"name", "outputs", "inputs"});
    LayerShape shape = read_shape(layer);
    shape.name = read_name(layer.require("name"));
    add_layer(item, std::move(shape), model.layers);
  }
  return model;
}

// A config.json, named after its folder.
ThroughputModel read_config_path(const YamlNode& node,
                                 const std::string& folder) {
  namespace fs = std::filesystem;
  // A name that is not known is taken for one, not for a path.
  if (node.kind != YamlNode::Kind::kScalar || node.text.empty() ||
      (node.text.find('/') == std::string::npos &&
       !node.text.ends_with(".json"))) {
    fail_at(node, list_names(known_architectures()) +
                      " or the path of a config.json");
  }
  fs::path file = resolve_path(node, folder).resolved;
  if (fs::is_directory(file)) file /= "config.json";
  const fs::path parent =
      fs::absolute(file).lexically_normal().parent_path().filename();
  return {read_name(yaml_scalar(parent.string())),
          throughput_layers(read_config(file))};
}

ThroughputModel read_architecture(const YamlNode& node,
                                  const std::string& folder) {
  if (node.kind == YamlNode::Kind::kMapping) return read_layers(node);
  if (const auto known = known_architecture(node.text)) {
    return {node.text, throughput_layers(*known)};
  }
  return read_config_path(node, folder);
}

void read_architectures(const YamlNode& node, const std::string& folder,
                        std::vector<ThroughputModel>& models) {
  for (const YamlNode& item : read_list(node)) {
    ThroughputModel model = read_architecture(item, folder);
    const bool is_taken =
        model.name == kShapesModel ||
        std::any_of(models.begin(), models.end(), [&](const auto& other) {
          return other.name == model.name;
        });
    if (is_taken) {
      throw InputError(
          item.place.to_string(),
          fmt::format("expected a name that no other architecture has and that "
                      "is not '{}', found '{}'",
                      kShapesModel, model.name));
    }
    models.push_back(std::move(model));
  }
}

std::vector<std::string> read_pipelines(const YamlNode& node) {
  const std::vector<std::string> names(kThroughputPipelines.begin(),
                                       kThroughputPipelines.end());
  std::vector<std::string> pipelines;
  for (const YamlNode& item : read_list(node)) {
    const std::string& name = names[read_choice(item, names)];
    if (std::find(pipelines.begin(), pipelines.end(), name) !=
        pipelines.end()) {
      fail_at(item, "each pipeline once");
    }
    pipelines.push_back(name);
  }
  return pipelines;
}

YamlNode resolve_layer(const LayerShape& layer) {
  std::vector<std::pair<std::string, YamlNode>> entries;
  if (!layer.name.empty())
    entries.emplace_back("name", yaml_scalar(layer.name));
  entries.emplace_back("outputs", yaml_number(layer.outputs));
  entries.emplace_back("inputs", yaml_number(layer.inputs));
  return yaml_mapping(std::move(entries));
}

YamlNode resolve_layers(const ThroughputModel& model) {
  std::vector<YamlNode> layers;
  for (const LayerShape& layer : model.layers) {
    layers.push_back(resolve_layer(layer));
  }
  return yaml_sequence(std::move(layers));
}

}  // namespace

std::vector<LayerShape> throughput_layers(const ModelConfig& config) {
  return {{"o_proj", config.hidden_size, config.query_size()},
          {"gate_up_proj", 2 * config.intermediate_size, config.hidden_size},
          {"down_proj", config.hidden_size, config.intermediate_size}};
}

std::vector<std::string> throughput_options() {
  return {"transform_block", "activation_scale"};
}

ThroughputMeasure read_throughput(const YamlNode& node,
                                  const std::string& folder) {
  const MappingReader reader(node, {"tokens", "shapes", "architectures",
                                    "pipelines", "repeats", "warmup"});
  ThroughputMeasure measure;
  measure.tokens = read_tokens(reader.require("tokens"));
  if (const YamlNode* shapes = reader.find("shapes")) {
    measure.models.push_back(read_shapes(*shapes));
  }
  if (const YamlNode* architectures = reader.find("architectures")) {
    read_architectures(*architectures, folder, measure.models);
  }
  if (measure.models.empty()) {
    fail_at(node, "the key 'shapes' or 'architectures'");
  }
  const YamlNode* pipelines = reader.find("pipelines");
  measure.pipelines = pipelines == nullptr ? std::vector<std::string>(
                                                 kThroughputPipelines.begin(),
                                                 kThroughputPipelines.end())
                                           : read_pipelines(*pipelines);
  if (const YamlNode* repeats = reader.find("repeats")) {
    measure.repeats = static_cast<int>(read_integer(*repeats, 1, kMostRepeats));
  }
  if (const YamlNode* warmup = reader.find("warmup")) {
    measure.warmup = static_cast<int>(read_integer(*warmup, 0, kMostRepeats));
  }
  return measure;
}

YamlNode resolve_throughput(const ThroughputMeasure& measure) {
  std::vector<YamlNode> tokens;
  for (const std::int64_t value : measure.tokens) {
    tokens.push_back(yaml_number(value));
  }
  std::vector<std::pair<std::string, YamlNode>> entries = {
      {"tokens", yaml_sequence(std::move(tokens))}};
  std::vector<YamlNode> architectures;
  for (const ThroughputModel& model : measure.models) {
    if (model.name == kShapesModel) {
      entries.emplace_back("shapes", resolve_layers(model));
    } else {
      architectures.push_back(
          yaml_mapping({{"name", yaml_scalar(model.name)},
                        {"layers", resolve_layers(model)}}));
    }
  }
  if (!architectures.empty()) {
    entries.emplace_back("architectures",
                         yaml_sequence(std::move(architectures)));
  }
  std::vector<YamlNode> pipelines;
  for (const std::string& name : measure.pipelines) {
    pipelines.push_back(yaml_scalar(name));
  }
  entries.emplace_back("pipelines", yaml_sequence(std::move(pipelines)));
  entries.emplace_back("repeats", yaml_number(measure.repeats));
  entries.emplace_back("warmup", yaml_number(measure.warmup));
  return yaml_mapping(std::move(entries));
}

}  // namespace wush
