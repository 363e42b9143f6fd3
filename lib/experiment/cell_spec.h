// One cell of a sweep in the types that the pipeline works with.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/numerics/format.h"
#include "lib/quantize/options.h"
#include "lib/results/cell.h"
#include "lib/transform/transform.h"

namespace wush {

struct CellSpec {
  CellParameters parameters;               // names as stored
  std::optional<numerics::Format> format;  // none: the unquantized model
  TransformSpec transform;
  std::string method;  // a solver's name
  QuantizationOptions options;
};

// Which measurements a sweep takes.
struct LayerLossMeasure {
  std::vector<int> layers;             // decoder blocks, from 0
  std::int64_t windows = 32;           // first windows of the evaluation text
  bool evaluation_moments = true;      // false: moments of the calibration text
  std::map<std::string, int> repeats;  // transform name -> number of seeds
};

struct EqualizationMeasure {
  int layer = 0;              // decoder block, from 0
  std::string linear;         // q_proj, ..., down_proj
  std::int64_t windows = 32;  // first windows of the evaluation text
};

// One linear: y [tokens, outputs] = x [tokens, inputs] W^T.
struct LayerShape {
  std::string name;  // "o_proj"; empty for a shape given without a model
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
};

// Shapes that are shown together: the linears of an architecture, or those
// given one by one, under the name "shapes".
struct ThroughputModel {
  std::string name;
  std::vector<LayerShape> layers;
};

// Is measured alone: it needs no checkpoint and no text.
struct ThroughputMeasure {
  std::vector<std::int64_t> tokens;
  std::vector<ThroughputModel> models;
  std::vector<std::string> pipelines;  // "matmul", "hadamard", "wush"
  int repeats = 20;                    // timed samples of each path
  int warmup = 3;                      // samples before them, dropped
};

struct Measures {
  std::optional<LayerLossMeasure> layer_loss;
  std::optional<EqualizationMeasure> equalization;
  std::optional<ThroughputMeasure> throughput;
  bool perplexity = false;
  bool kl = false;
};

// A text cut into windows: the first `sequences` windows of `length` tokens
// (0: all of them).
struct TextSpec {
  std::string path;
  std::int64_t sequences = 0;
  std::int64_t length = 0;
};

}  // namespace wush
