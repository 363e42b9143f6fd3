// `measure: throughput` of an experiment file.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "lib/checkpoint/config.h"
#include "lib/experiment/cell_spec.h"
#include "lib/experiment/yaml_document.h"

namespace wush {

// What a linear of packed operands is timed with before its matrix product:
// nothing (activations already packed), Hadamard + quantize, or one matrix for
// each block + quantize.
inline constexpr std::array<std::string_view, 3> kThroughputPipelines = {
    "matmul", "hadamard", "wush"};

// The table that holds it in a cell (schema: results/README.md).
inline constexpr char kThroughputTable[] = "throughput";

// Name of the model that holds shapes given without one.
inline constexpr char kShapesModel[] = "shapes";

// The linears of a decoder block that figure 2 of the WUSH paper times: o_proj,
// gate_proj and up_proj as one (as fused inference engines run them), and
// down_proj.
std::vector<LayerShape> throughput_layers(const ModelConfig& config);

// The options that change what is timed: how many channels a transform spans
// and the rule that picks the scales of activations.
std::vector<std::string> throughput_options();

// Reads {tokens, shapes, architectures, pipelines, repeats, warmup}. An
// architecture is a known name, a path to a config.json or to a folder that
// holds one, or {name, layers: [{name, outputs, inputs}]}. Throws InputError.
ThroughputMeasure read_throughput(const YamlNode& node,
                                  const std::string& folder);

// The same with every default and every architecture's layers filled in, so
// that it can be read where the paths lead nowhere.
YamlNode resolve_throughput(const ThroughputMeasure& measure);

}  // namespace wush
