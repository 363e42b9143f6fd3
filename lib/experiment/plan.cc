#include "lib/experiment/plan.h"

#include <algorithm>
#include <array>

#include "kernels/numerics/format.h"
#include "lib/solver/registry.h"
#include "lib/transform/transform.h"

namespace wush {
namespace {

// One linear [out, in]; those with the same site share their input.
struct Shape {
  double out;
  double in;
  int site;
};
constexpr int kSites = 4;
constexpr int kDown = 3;  // the site of down_proj, the block's last input

std::array<Shape, 7> linears(const ModelConfig& model) {
  const auto hidden = static_cast<double>(model.hidden_size);
  const auto inner = static_cast<double>(model.intermediate_size);
  const auto query = static_cast<double>(model.query_size());
  const auto key = static_cast<double>(model.key_value_size());
  return {{{query, hidden, 0},
           {key, hidden, 0},
           {key, hidden, 0},
           {hidden, query, 1},
           {inner, hidden, 2},
           {inner, hidden, 2},
           {hidden, inner, kDown}}};
}

std::array<double, kSites> site_widths(const ModelConfig& model) {
  std::array<double, kSites> widths{};
  for (const Shape& shape : linears(model)) {
    widths[static_cast<std::size_t>(shape.site)] = shape.in;
  }
  return widths;
}

// One block's forward. Causal attention takes half of 2 (q k^T) + 2 (p v)
// operations per token, position and channel.
double forward(const ModelConfig& model, double tokens, double length,
               double transform_width, bool with_last_linear) {
  double per_token = 2 * length * static_cast<double>(model.query_size());
  for (const Shape& shape : linears(model)) {
    if (shape.site == kDown && !with_last_linear) continue;
    per_token += 2 * shape.in * (shape.out + transform_width);
  }
  return tokens * per_token;
}

// What of a cell matters for its cost.
struct CellCost {
  bool full_hessian;
  double width;          // channels of a transform, 0 for the identity
  double hessian_block;  // channels of a kept diagonal block
};

CellCost cost_of(const CellSpec& cell) {
  const double group = numerics::describe(*cell.format).group;
  const double width =
      cell.options.transform_block == 0 ? group : cell.options.transform_block;
  const auto transform = make_transform(cell.transform);
  const bool full = find_solver(cell.method).needs_full_hessian ||
                    (transform->needs_moments() &&
                     cell.options.moments == MomentsKind::kConditional);
  return {full, transform->is_identity() ? 0 : width, width};
}

// Second moments of the inputs of one block; a symmetric product is half a
// GEMM.
double gram(const ModelConfig& model, double tokens, const CellCost& cost) {
  double operations = 0;
  for (const double in : site_widths(model)) {
    operations += tokens * in * (cost.full_hessian ? in : cost.hessian_block);
  }
  return operations;
}

// Transforms and weights of one block's linears: for each linear a Cholesky
// factorization and the feedback between blocks (full Hessian only), W T^-1 and
// Q T, and per transform about 25 K^3 for moments, factors and eigenvectors.
double solve(const ModelConfig& model, const CellCost& cost) {
  constexpr double kFit = 25;
  double operations = 0;
  for (const Shape& shape : linears(model)) {
    if (cost.full_hessian) {
      operations += shape.in * shape.in * shape.in / 3;
      operations += shape.out * shape.in * shape.in;
    }
    operations += 4 * shape.out * shape.in * cost.width;
    operations += shape.out * shape.in * cost.width;  // moments of W
    operations += kFit * shape.in * cost.width * cost.width;
  }
  return operations;
}

double head(const ModelConfig& model, double tokens) {
  return 2 * tokens * static_cast<double>(model.vocab_size) *
         static_cast<double>(model.hidden_size);
}

int repeats_of(const LayerLossMeasure& measure, const CellSpec& cell) {
  const auto found = measure.repeats.find(cell.transform.name);
  return found == measure.repeats.end() ? 1 : found->second;
}

// Evaluation tokens of a measurement on the first `count` windows.
double tokens_of(std::int64_t count, const WindowCounts& windows) {
  return static_cast<double>(std::min(count, windows.evaluation) *
                             windows.evaluation_length);
}

Work reference_work(const ModelConfig& model, const WindowCounts& windows,
                    const Measures& measures) {
  const auto blocks = static_cast<double>(model.num_hidden_layers);
  const auto tokens = static_cast<double>(windows.evaluation_tokens());
  const auto length = static_cast<double>(windows.evaluation_length);
  Work work;
  work["reference"] = blocks * forward(model, tokens, length, 0, true);
  if (measures.perplexity) work["evaluate"] = head(model, tokens);
  if (measures.equalization) {
    const double few = tokens_of(measures.equalization->windows, windows);
    work["reference"] +=
        forward(model, few, length, 0, false) + gram(model, few, {true, 0, 0});
  }
  if (!measures.layer_loss) return work;
  const bool held_out = !measures.layer_loss->evaluation_moments;
  const auto calibration = static_cast<double>(windows.calibration_tokens());
  const double moment_tokens =
      held_out ? calibration : tokens_of(measures.layer_loss->windows, windows);
  if (held_out) {
    work["reference"] +=
        blocks * forward(model, calibration,
                         static_cast<double>(windows.calibration_length), 0,
                         true);
  }
  const double layers = static_cast<double>(measures.layer_loss->layers.size());
  work["reference"] +=
      layers * (forward(model, moment_tokens, length, 0, false) +
                gram(model, moment_tokens, {true, 0, 0}));
  return work;
}

double layer_loss_work(const ModelConfig& model, const WindowCounts& windows,
                       const Measures& measures, const CellSpec& cell,
                       const CellCost& cost) {
  const double tokens = tokens_of(measures.layer_loss->windows, windows);
  const auto length = static_cast<double>(windows.evaluation_length);
  const double repeats = repeats_of(*measures.layer_loss, cell);
  double linear = 0;
  double quantized = 0;
  for (const Shape& shape : linears(model)) {
    linear += 2 * tokens * shape.in * shape.out;
    quantized += 2 * tokens * shape.in * (shape.out + cost.width);
  }
  return static_cast<double>(measures.layer_loss->layers.size()) *
         (forward(model, tokens, length, 0, false) + linear +
          repeats * (solve(model, cost) + quantized));
}

}  // namespace

Work predict_work(const ModelConfig& model, const WindowCounts& windows,
                  const Measures& measures, const CellSpec& cell) {
  if (!cell.format) return reference_work(model, windows, measures);
  const CellCost cost = cost_of(cell);
  Work work;
  if (measures.layer_loss) {
    work["layer loss"] = layer_loss_work(model, windows, measures, cell, cost);
  }
  if (measures.equalization) {
    work["equalization"] =
        solve(model, cost) +
        forward(model, tokens_of(measures.equalization->windows, windows),
                static_cast<double>(windows.evaluation_length), 0, false);
  }
  if (!measures.perplexity && !measures.kl) return work;
  const auto blocks = static_cast<double>(model.num_hidden_layers);
  const auto calibration = static_cast<double>(windows.calibration_tokens());
  const auto evaluation = static_cast<double>(windows.evaluation_tokens());
  const auto calibration_length =
      static_cast<double>(windows.calibration_length);
  work["calibrate"] =
      blocks * (forward(model, calibration, calibration_length, 0, false) +
                gram(model, calibration, cost));
  work["solve"] = blocks * solve(model, cost);
  work["propagate"] =
      (blocks - 1) *
          forward(model, calibration, calibration_length, cost.width, true) +
      blocks * forward(model, evaluation,
                       static_cast<double>(windows.evaluation_length),
                       cost.width, true);
  work["evaluate"] = head(model, evaluation) * (measures.kl ? 2 : 1);
  return work;
}

double total(const Work& work) {
  double sum = 0;
  for (const auto& [stage, operations] : work) sum += operations;
  return sum;
}

DiskUse predict_disk(const ModelConfig& model, const WindowCounts& windows,
                     const Measures& measures, const CellSpec& cell) {
  constexpr std::int64_t kObjects = 10 << 10;  // HDF5 groups, attributes
  constexpr std::int64_t kRow = 64;            // of a record of a linear
  DiskUse use;
  use.result = kObjects;
  if (measures.perplexity) use.result += 8 * windows.evaluation;
  if (!cell.format) return use;
  if (measures.kl) use.result += 16 * windows.evaluation;
  const auto linear_count = static_cast<std::int64_t>(linears(model).size());
  if (measures.layer_loss) {
    use.result += kRow * linear_count * repeats_of(*measures.layer_loss, cell) *
                  static_cast<std::int64_t>(measures.layer_loss->layers.size());
  }
  if (measures.equalization) use.result += 40 * model.intermediate_size;
  if (measures.perplexity || measures.kl) {
    use.result += kRow * linear_count * model.num_hidden_layers;
    use.partial = (windows.calibration_tokens() + windows.evaluation_tokens()) *
                  model.hidden_size * static_cast<std::int64_t>(sizeof(float));
  }
  return use;
}

}  // namespace wush
