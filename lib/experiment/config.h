// An experiment file, read strictly: what it says, with every default filled
// in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/experiment/cell_spec.h"
#include "lib/experiment/yaml_document.h"

namespace wush {

// A path as written and where it leads: `~` and ${VAR} expanded, relative to
// the folder of the experiment file, else to the working directory.
struct InputPath {
  std::string written;
  std::string resolved;
};

struct ModelEntry {
  std::string name;
  InputPath path;  // a Hugging Face checkpoint directory
};

struct TextEntry {
  InputPath text;
  std::int64_t sequences = 0;  // first windows of the text; 0: all
  std::int64_t length = 0;     // tokens of a window

  TextSpec spec() const { return {text.resolved, sequences, length}; }
};

// One value of a sweep axis, or one alternative of an exclusion. `parameters`
// are those of an entry that is a mapping ("lambda", or options that this entry
// sets), in canonical text.
struct AxisValue {
  std::string kind;
  std::map<std::string, std::string> parameters;
  YamlPlace place;

  bool operator==(const AxisValue& other) const {
    return kind == other.kind && parameters == other.parameters;
  }
};

// `name` is "format", "transform", "method" or an option.
struct Axis {
  std::string name;
  std::vector<AxisValue> values;
};

// Excludes the cells that match every condition: the cell's value under `name`
// ("model", an axis or an option) is one of `alternatives`.
struct Condition {
  std::string name;
  std::vector<AxisValue> alternatives;
};
using Exclusion = std::vector<Condition>;

struct ExperimentConfig {
  std::string file;
  std::string name;
  std::uint64_t seed = 0;
  // Models and texts are not there (the evaluation is empty) when throughput
  // is measured.
  std::vector<ModelEntry> models;
  std::optional<TextEntry> calibration;  // always there when there are axes
  TextEntry evaluation;
  // Empty: only the unquantized models. Else format, transform and method
  // (throughput: format alone), then options in the order of option_table().
  std::vector<Axis> axes;
  std::vector<Exclusion> exclusions;
  Measures measures;
  YamlPlace layers_place;                      // of measure.layer_loss.layers
  YamlPlace equalization_place;                // of measure.equalization.layer
  std::map<std::string, std::string> options;  // every option, canonical text
};

// Reads a file and applies the overrides ("a.b=value", later ones win; the
// value is YAML, a list is indexed by number: "models.0.path=x"). Throws
// InputError with file:line:column, or the override and the column in it.
ExperimentConfig load_experiment(
    const std::string& path, const std::vector<std::string>& overrides = {});

// The same from a parsed document; `file` is where relative paths begin.
ExperimentConfig parse_experiment(const YamlNode& root,
                                  const std::string& file);

// The configuration in canonical text with every default filled in. Reading it
// gives the same configuration.
std::string resolved_yaml(const ExperimentConfig& config);

}  // namespace wush
