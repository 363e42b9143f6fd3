#include "lib/experiment/cells.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "kernels/numerics/format.h"
#include "lib/experiment/option_table.h"
#include "lib/support/error.h"

namespace wush {
namespace {

numerics::Format format_named(const std::string& name) {
  const auto& formats = numerics::kBlockFormats;
  const auto found =
      std::find_if(formats.begin(), formats.end(),
                   [&](const auto& format) { return format.name == name; });
  WUSH_CHECK(found != formats.end(), "format {}", name);
  return static_cast<numerics::Format>(found - formats.begin());
}

CellSpec unquantized_cell(const std::string& model) {
  CellSpec cell;
  cell.parameters = {model, "none", "identity", "none", {}};
  cell.transform.name = "identity";
  cell.method = "none";
  return cell;
}

// Every layer that is timed is a number of whole blocks.
void check_layers(const ThroughputMeasure& measure, const CellSpec& cell,
                  const AxisValue& format) {
  const int group = numerics::describe(*cell.format).group;
  const int block = std::max(group, cell.options.transform_block);
  for (const ThroughputModel& model : measure.models) {
    if (model.name != cell.parameters.model) continue;
    for (const LayerShape& layer : model.layers) {
      if (layer.inputs % block == 0) continue;
      throw InputError(
          format.place.to_string(),
          fmt::format("expected inputs that are a multiple of {} in every "
                      "shape of {}, found {}",
                      block, model.name, layer.inputs));
    }
  }
}

void check_transform_block(const CellSpec& cell, const AxisValue& format) {
  const int group = numerics::describe(*cell.format).group;
  if (cell.options.transform_block % group != 0) {
    throw InputError(
        format.place.to_string(),
        fmt::format("expected a transform_block that is a "
                    "multiple of the group {} of {}, found {}",
                    group, format.kind, cell.options.transform_block));
  }
}

// The names and options of one combination of axis values.
CellParameters combine(const ExperimentConfig& config, const std::string& model,
                       const std::vector<const AxisValue*>& values) {
  CellParameters parameters;
  parameters.model = model;
  parameters.options = config.options;
  // Throughput has neither axis: its pipelines are rows of one cell.
  parameters.transform = "none";
  parameters.method = "none";
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string& axis = config.axes[i].name;
    if (axis == "format") {
      parameters.format = values[i]->kind;
    } else if (axis == "transform") {
      parameters.transform = values[i]->kind;
    } else if (axis == "method") {
      parameters.method = values[i]->kind;
    } else {
      parameters.options[axis] = values[i]->kind;
    }
    for (const auto& [name, text] : values[i]->parameters) {
      parameters.options[name] = text;
    }
  }
  return parameters;
}

const std::string& value_of(const CellParameters& parameters,
                            const std::string& name) {
  if (name == "model") return parameters.model;
  if (name == "format") return parameters.format;
  if (name == "transform") return parameters.transform;
  if (name == "method") return parameters.method;
  return parameters.options.at(name);
}

bool matches(const CellParameters& cell, const Condition& condition) {
  return std::any_of(
      condition.alternatives.begin(), condition.alternatives.end(),
      [&](const AxisValue& wanted) {
        if (value_of(cell, condition.name) != wanted.kind) return false;
        return std::all_of(wanted.parameters.begin(), wanted.parameters.end(),
                           [&](const auto& parameter) {
                             const auto found =
                                 cell.options.find(parameter.first);
                             return found != cell.options.end() &&
                                    found->second == parameter.second;
                           });
      });
}

bool is_excluded(const CellParameters& cell, const Exclusion& exclusion) {
  return std::all_of(
      exclusion.begin(), exclusion.end(),
      [&](const Condition& condition) { return matches(cell, condition); });
}

CellSpec make_cell(CellParameters parameters) {
  CellSpec cell;
  cell.format = format_named(parameters.format);
  cell.transform.name = parameters.transform;
  const auto lambda = parameters.options.find("lambda");
  if (lambda != parameters.options.end()) {
    cell.transform.lambda = std::strtod(lambda->second.c_str(), nullptr);
  }
  cell.method = parameters.method;
  cell.options = to_quantization_options(parameters.options);
  cell.parameters = std::move(parameters);
  return cell;
}

void add_combination(const ExperimentConfig& config, const std::string& model,
                     const std::vector<const AxisValue*>& values,
                     ExpandedSweep& sweep) {
  CellParameters parameters = combine(config, model, values);
  for (std::size_t i = 0; i < config.exclusions.size(); ++i) {
    if (is_excluded(parameters, config.exclusions[i])) {
      ++sweep.excluded[i];
      return;
    }
  }
  CellSpec cell = make_cell(std::move(parameters));
  check_transform_block(cell, *values.front());  // the first axis is `format`
  if (config.measures.throughput) {
    check_layers(*config.measures.throughput, cell, *values.front());
  }
  sweep.cells.push_back(std::move(cell));
}

// Counts `position` up, the last axis fastest; false after the last one.
bool advance(const std::vector<Axis>& axes,
             std::vector<std::size_t>& position) {
  for (std::size_t i = axes.size(); i-- > 0;) {
    if (++position[i] < axes[i].values.size()) return true;
    position[i] = 0;
  }
  return false;
}

void add_product(const ExperimentConfig& config, const std::string& model,
                 ExpandedSweep& sweep) {
  std::vector<std::size_t> position(config.axes.size(), 0);
  std::vector<const AxisValue*> values(config.axes.size());
  do {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = &config.axes[i].values[position[i]];
    }
    add_combination(config, model, values, sweep);
  } while (advance(config.axes, position));
}

std::vector<std::string> model_names(const ExperimentConfig& config) {
  std::vector<std::string> names;
  if (config.measures.throughput) {
    for (const ThroughputModel& model : config.measures.throughput->models) {
      names.push_back(model.name);
    }
  }
  for (const ModelEntry& model : config.models) names.push_back(model.name);
  return names;
}

// More cells than any sweep can compute come from a mistake in the file.
void check_size(const ExperimentConfig& config) {
  constexpr double kMostCells = 1'000'000;
  double cells = static_cast<double>(model_names(config).size());
  for (const Axis& axis : config.axes) {
    cells *= static_cast<double>(axis.values.size());
  }
  if (cells > kMostCells) {
    throw InputError(
        config.file,
        fmt::format("expected at most {} cells, found {}", kMostCells, cells));
  }
}

}  // namespace

ExpandedSweep expand_cells(const ExperimentConfig& config) {
  check_size(config);
  ExpandedSweep sweep;
  sweep.excluded.assign(config.exclusions.size(), 0);
  for (const std::string& model : model_names(config)) {
    sweep.cells.push_back(unquantized_cell(model));
    if (!config.axes.empty()) add_product(config, model, sweep);
  }
  return sweep;
}

std::string cell_label(const CellParameters& parameters,
                       const ExperimentConfig& config) {
  if (parameters.format == "none") return parameters.model + " unquantized";
  std::string label = fmt::format("{} {}", parameters.model, parameters.format);
  if (parameters.method != "none") {
    label += fmt::format(" {} {}", parameters.transform, parameters.method);
  }
  for (const auto& [name, text] : parameters.options) {
    const auto common = config.options.find(name);
    if (common == config.options.end() || common->second != text) {
      label += fmt::format(" {}={}", name, text);
    }
  }
  return label;
}

TaskShare parse_task(const std::string& text) {
  TaskShare share;
  std::size_t number = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, number);
  const bool has_slash =
      first.ec == std::errc() && first.ptr != end && *first.ptr == '/';
  const auto second =
      has_slash ? std::from_chars(first.ptr + 1, end, share.count)
                : std::from_chars_result{end, std::errc::invalid_argument};
  if (second.ec != std::errc() || second.ptr != end || number < 1 ||
      number > share.count) {
    throw InputError("--task", fmt::format("expected i/n with 1 <= i <= n, "
                                           "found '{}'",
                                           text));
  }
  share.index = number - 1;
  return share;
}

}  // namespace wush
