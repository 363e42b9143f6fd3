#include "lib/experiment/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "lib/experiment/axes.h"
#include "lib/experiment/measure_table.h"
#include "lib/experiment/option_table.h"
#include "lib/experiment/overrides.h"
#include "lib/experiment/paths.h"
#include "lib/experiment/throughput_measure.h"
#include "lib/experiment/yaml_values.h"
#include "lib/support/error.h"

namespace wush {
namespace {

constexpr std::int64_t kMostTokens = 1 << 20;  // of a window
constexpr std::int64_t kMostSequences = 1 << 30;
constexpr std::int64_t kLargestSeed = INT64_MAX;

using Entries = std::vector<std::pair<std::string, YamlNode>>;

class ConfigReader {
 public:
  explicit ConfigReader(const std::string& file)
      : folder_(std::filesystem::path(file).parent_path().string()) {
    config_.file = file;
  }

  ExperimentConfig read(const YamlNode& root) {
    const MappingReader reader(
        root, {"name", "seed", "models", "calibration", "evaluation", "sweep",
               "exclude", "measure", "options"});
    config_.name = read_name(reader.require("name"));
    config_.options = default_options();
    if (const YamlNode* seed = reader.find("seed")) read_seed(*seed);
    read_measure(reader.require("measure"));  // says what else is needed
    if (config_.measures.throughput) {
      read_throughput_parts(reader);
    } else {
      read_model_parts(reader);
    }
    if (const YamlNode* exclude = reader.find("exclude")) {
      read_exclude(*exclude);
    }
    return std::move(config_);
  }

 private:
  void read_model_parts(const MappingReader& reader) {
    read_models(reader.require("models"));
    const YamlNode* sweep = reader.find("sweep");
    if (sweep != nullptr || reader.find("calibration") != nullptr) {
      read_calibration(reader.require("calibration"));
    }
    read_evaluation(reader.require("evaluation"));
    if (const YamlNode* options = reader.find("options")) {
      read_options(*options, option_names());
    }
    if (sweep != nullptr) {
      read_sweep(*sweep, axis_names(), {"format", "transform", "method"});
    }
  }

  // Throughput takes its layers from under `measure`, and of the options only
  // those that change what is computed for an activation.
  void read_throughput_parts(const MappingReader& reader) {
    for (const YamlEntry& entry : reader.node().entries) {
      if (entry.key == "models" || entry.key == "calibration" ||
          entry.key == "evaluation") {
        throw InputError(
            entry.place.to_string(),
            fmt::format("expected no {} beside measure.throughput, which needs "
                        "no checkpoint and no text, found some",
                        entry.key));
      }
    }
    const std::vector<std::string> names = throughput_options();
    std::erase_if(config_.options, [&](const auto& option) {
      return option.first != "seed" &&
             std::find(names.begin(), names.end(), option.first) == names.end();
    });
    for (const ThroughputModel& model : config_.measures.throughput->models) {
      model_names_.push_back(model.name);
    }
    if (const YamlNode* options = reader.find("options")) {
      read_options(*options, names);
    }
    if (const YamlNode* sweep = reader.find("sweep")) {
      std::vector<std::string> axes = names;
      axes.insert(axes.begin(), "format");
      read_sweep(*sweep, axes, {"format"});
      check_parameters(names);
    }
  }

  // An entry that is a mapping may set these options only.
  void check_parameters(const std::vector<std::string>& names) {
    for (const Axis& axis : config_.axes) {
      for (const AxisValue& value : axis.values) {
        for (const auto& [name, text] : value.parameters) {
          if (std::find(names.begin(), names.end(), name) != names.end()) {
            continue;
          }
          throw InputError(value.place.to_string(),
                           fmt::format("expected the option {} for throughput, "
                                       "found '{}'",
                                       list_names(names), name));
        }
      }
    }
  }

  void read_seed(const YamlNode& node) {
    config_.seed =
        static_cast<std::uint64_t>(read_integer(node, 0, kLargestSeed));
    config_.options["seed"] = std::to_string(config_.seed);
  }

  void read_models(const YamlNode& node) {
    for (const YamlNode& item : read_list(node)) {
      const MappingReader reader(item, {"name", "path"});
      const std::string& name = read_name(reader.require("name"));
      if (std::find(model_names_.begin(), model_names_.end(), name) !=
          model_names_.end()) {
        fail_at(reader.require("name"), "a name that no other model has");
      }
      model_names_.push_back(name);
      config_.models.push_back(
          {name, resolve_path(reader.require("path"), folder_)});
    }
  }

  TextEntry read_text(const MappingReader& reader) {
    TextEntry entry;
    entry.text = resolve_path(reader.require("text"), folder_);
    entry.length = read_integer(reader.require("length"), 2, kMostTokens);
    return entry;
  }

  void read_calibration(const YamlNode& node) {
    const MappingReader reader(node, {"text", "sequences", "length"});
    config_.calibration = read_text(reader);
    config_.calibration->sequences =
        read_integer(reader.require("sequences"), 1, kMostSequences);
  }

  void read_evaluation(const YamlNode& node) {
    const MappingReader reader(node, {"text", "length", "windows"});
    config_.evaluation = read_text(reader);
    const YamlNode* windows = reader.find("windows");
    if (windows != nullptr && windows->text != "all") {
      if (windows->kind == YamlNode::Kind::kScalar && !windows->text.empty() &&
          windows->text.find_first_not_of("0123456789") != std::string::npos) {
        fail_at(*windows, "'all' or a number of windows");
      }
      config_.evaluation.sequences = read_integer(*windows, 1, kMostSequences);
    }
  }

  // `seed` stands at the top of the file and cannot be set here.
  void read_options(const YamlNode& node, std::vector<std::string> names) {
    std::erase(names, "seed");
    for (const YamlEntry& entry : MappingReader(node, names).node().entries) {
      config_.options[entry.key] = find_option(entry.key)->read(entry.value);
    }
  }

  void read_sweep(const YamlNode& node, const std::vector<std::string>& names,
                  const std::vector<std::string>& required) {
    const MappingReader reader(node, names);
    for (const std::string& name : names) {
      const bool is_required =
          std::find(required.begin(), required.end(), name) != required.end();
      const YamlNode* axis =
          is_required ? &reader.require(name) : reader.find(name);
      if (axis != nullptr) config_.axes.push_back(read_axis(name, *axis));
    }
    check_one_source();
  }

  // An option is set by at most one axis.
  void check_one_source() {
    for (const Axis& axis : config_.axes) {
      for (const AxisValue& value : axis.values) {
        for (const auto& [name, text] : value.parameters) {
          check_no_other_axis(axis, value, name);
        }
      }
    }
  }

  void check_no_other_axis(const Axis& axis, const AxisValue& value,
                           const std::string& parameter) {
    for (const Axis& other : config_.axes) {
      if (&other == &axis) continue;
      const bool sets = other.name == parameter ||
                        std::any_of(other.values.begin(), other.values.end(),
                                    [&](const AxisValue& v) {
                                      return v.parameters.contains(parameter);
                                    });
      if (sets) {
        throw InputError(
            value.place.to_string(),
            fmt::format("expected {0} in one axis of the sweep, found it under "
                        "'{1}' and '{2}'",
                        parameter, axis.name, other.name));
      }
    }
  }

  void read_exclude(const YamlNode& node) {
    std::vector<std::string> names = axis_names();
    names.insert(names.begin(), "model");
    for (const YamlNode& item : read_list(node)) {
      const MappingReader reader(item, names);
      if (item.entries.empty()) fail_at(item, "at least one condition");
      Exclusion exclusion;
      for (const YamlEntry& entry : item.entries) {
        exclusion.push_back(
            read_condition(entry.key, entry.value, model_names_));
      }
      config_.exclusions.push_back(std::move(exclusion));
    }
  }

  void read_measure(const YamlNode& node) {
    std::vector<std::string> names;
    for (const MeasureInfo& info : measure_table()) names.push_back(info.name);
    const MappingReader reader(node, names);
    if (node.entries.empty()) fail_at(node, "at least one measurement");
    for (const MeasureInfo& info : measure_table()) {
      if (const YamlNode* measure = reader.find(info.name)) {
        info.read(*measure, folder_, config_.measures);
      }
    }
    if (config_.measures.layer_loss) {
      config_.layers_place = reader.find("layer_loss")->find("layers")->place;
    }
    if (config_.measures.equalization) {
      config_.equalization_place =
          reader.find("equalization")->find("layer")->place;
    }
    if (config_.measures.throughput && node.entries.size() > 1) {
      throw InputError(reader.find("throughput")->place.to_string(),
                       "expected throughput alone, in an experiment of its "
                       "own, found other measurements beside it");
    }
  }

  std::string folder_;
  ExperimentConfig config_;
  std::vector<std::string> model_names_;
};

YamlNode resolve_models(const ExperimentConfig& config) {
  std::vector<YamlNode> models;
  for (const ModelEntry& model : config.models) {
    models.push_back(yaml_mapping({{"name", yaml_scalar(model.name)},
                                   {"path", yaml_scalar(model.path.written)}}));
  }
  return yaml_sequence(std::move(models));
}

// Models and texts.
void add_model_parts(const ExperimentConfig& config, Entries& entries) {
  entries.emplace_back("models", resolve_models(config));
  if (config.calibration) {
    entries.emplace_back(
        "calibration",
        yaml_mapping({{"text", yaml_scalar(config.calibration->text.written)},
                      {"sequences", yaml_number(config.calibration->sequences)},
                      {"length", yaml_number(config.calibration->length)}}));
  }
  const TextEntry& evaluation = config.evaluation;
  entries.emplace_back(
      "evaluation",
      yaml_mapping({{"text", yaml_scalar(evaluation.text.written)},
                    {"length", yaml_number(evaluation.length)},
                    {"windows", evaluation.sequences == 0
                                    ? yaml_scalar("all")
                                    : yaml_number(evaluation.sequences)}}));
}

YamlNode resolve_values(const std::vector<AxisValue>& values) {
  std::vector<YamlNode> items;
  for (const AxisValue& value : values) {
    items.push_back(resolve_axis_value(value));
  }
  return yaml_sequence(std::move(items));
}

YamlNode resolve_sweep(const ExperimentConfig& config) {
  Entries entries;
  for (const Axis& axis : config.axes) {
    entries.emplace_back(axis.name, resolve_values(axis.values));
  }
  return yaml_mapping(std::move(entries));
}

YamlNode resolve_exclude(const ExperimentConfig& config) {
  std::vector<YamlNode> items;
  for (const Exclusion& exclusion : config.exclusions) {
    Entries entries;
    for (const Condition& condition : exclusion) {
      entries.emplace_back(condition.name,
                           resolve_values(condition.alternatives));
    }
    items.push_back(yaml_mapping(std::move(entries)));
  }
  return yaml_sequence(std::move(items));
}

YamlNode resolve_measure(const ExperimentConfig& config) {
  Entries entries;
  for (const MeasureInfo& info : measure_table()) {
    if (info.present(config.measures)) {
      entries.emplace_back(info.name, info.resolve(config.measures));
    }
  }
  return yaml_mapping(std::move(entries));
}

YamlNode resolve_options(const ExperimentConfig& config) {
  Entries entries;
  for (const std::string& name : option_names()) {
    const auto option = config.options.find(name);
    if (name == "seed" || option == config.options.end()) continue;
    entries.emplace_back(name, yaml_scalar(option->second));
  }
  return yaml_mapping(std::move(entries));
}

}  // namespace

ExperimentConfig parse_experiment(const YamlNode& root,
                                  const std::string& file) {
  if (root.kind == YamlNode::Kind::kNull) {
    throw InputError(file, "expected an experiment, found an empty file");
  }
  return ConfigReader(file).read(root);
}

ExperimentConfig load_experiment(const std::string& path,
                                 const std::vector<std::string>& overrides) {
  YamlNode root = read_yaml_file(path);
  for (const std::string& text : overrides) apply_override(text, root);
  return parse_experiment(root, path);
}

std::string resolved_yaml(const ExperimentConfig& config) {
  Entries entries = {
      {"name", yaml_scalar(config.name)},
      {"seed", yaml_scalar(std::to_string(config.seed))},
  };
  if (!config.measures.throughput) add_model_parts(config, entries);
  if (!config.axes.empty())
    entries.emplace_back("sweep", resolve_sweep(config));
  if (!config.exclusions.empty()) {
    entries.emplace_back("exclude", resolve_exclude(config));
  }
  entries.emplace_back("measure", resolve_measure(config));
  entries.emplace_back("options", resolve_options(config));
  return format_yaml(yaml_mapping(std::move(entries)));
}

}  // namespace wush
