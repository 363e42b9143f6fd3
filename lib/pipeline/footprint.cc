#include "lib/pipeline/footprint.h"

#include <algorithm>
#include <array>

#include "kernels/numerics/format.h"
#include "lib/model/linear_layer.h"
#include "lib/pipeline/evaluate.h"
#include "lib/pipeline/solve_block.h"

namespace wush {
namespace {

constexpr double kFloat = sizeof(float);
constexpr double kDouble = sizeof(double);
// The program itself with its libraries, tokens and tokenizers.
constexpr double kProgram = 40 << 20;
// Columns whose errors a solver collects before it carries them on.
constexpr double kPanel = 128;

struct Sizes {
  explicit Sizes(const ModelConfig& model)
      : hidden(static_cast<double>(model.hidden_size)),
        inner(static_cast<double>(model.intermediate_size)),
        query(static_cast<double>(model.query_size())),
        key(static_cast<double>(model.key_value_size())),
        vocabulary(static_cast<double>(model.vocab_size)) {}

  double weights() const {  // of one block
    return hidden * (2 * query + 2 * key + 3 * inner);
  }
  double largest_weight() const {
    return hidden * std::max({query, key, inner});
  }
  std::array<double, kInputSites> site_widths() const {
    return {hidden, query, hidden, inner};
  }

  double hidden, inner, query, key, vocabulary;
};

// Tokens that go through a block at once.
double chunk_tokens(std::int64_t windows, std::int64_t length) {
  if (length == 0) return 0;
  const std::int64_t chunk =
      std::max<std::int64_t>(1, kChunkTokens / length) * length;
  return static_cast<double>(std::min(chunk, windows * length));
}

// Temporaries of DecoderBlock::forward; quantized linears also hold T x, its
// codes and the decoded operands.
double forward_bytes(const Sizes& s, double tokens, bool quantized) {
  const double attention = tokens * (2 * s.query + 2 * s.key + s.hidden);
  const double up = tokens * (2 * s.inner + s.hidden);
  const double down = tokens * (s.inner + s.hidden);
  if (!quantized) return kFloat * std::max({attention, up, down});
  const double operand = 2.0 + 1.0 / 6;  // T x, decoded, and packed in 4 bits
  return kFloat *
         std::max({attention + operand * tokens * s.hidden,
                   up + operand * tokens * s.hidden + s.inner * s.hidden,
                   down + operand * tokens * s.inner + s.inner * s.hidden});
}

// Second moments of one block's inputs, whole or diagonal blocks.
double hessian_bytes(const Sizes& s, bool full, double block) {
  double values = 0;
  for (const double in : s.site_widths()) values += in * (full ? in : block);
  return kDouble * values;
}

// What solving the largest linear takes beside its Hessian.
double solver_bytes(const Sizes& s, bool full, double width) {
  double largest = 0;
  const std::array<double, kInputSites> widths = s.site_widths();
  const std::array<double, kInputSites> outs = {std::max(s.query, s.key),
                                                s.hidden, s.inner, s.hidden};
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const double in = widths[i];
    const double out = outs[i];
    double values = out * width * 4;
    if (full) values += in * in + out * (in + kPanel);
    largest = std::max(largest, values);
  }
  return kDouble * largest;
}

// Codes, scales and transforms of one block.
double quantized_bytes(const Sizes& s, const CellSpec& cell, double width) {
  const double transforms =
      kFloat * width * (3 * s.hidden + s.query + 2 * s.hidden + s.inner);
  return s.weights() * numerics::describe(*cell.format).bits_per_element() / 8 +
         transforms;
}

double evaluate_bytes(const Sizes& s, const ModelConfig& model,
                      const WindowCounts& windows, bool kl) {
  const auto rows = static_cast<double>(
      logit_rows(model.vocab_size, windows.evaluation_length));
  return kFloat * (s.vocabulary * s.hidden +
                   rows * ((kl ? 2 : 1) * s.vocabulary + s.hidden));
}

struct Study {
  double kept = 0;  // of all measured layers
  bool any = false;
};

Study study_bytes(const Sizes& s, const WindowCounts& windows,
                  const Measures& measures) {
  Study study;
  const auto add = [&](std::int64_t count, std::size_t layers) {
    const auto tokens = static_cast<double>(
        std::min(count, windows.evaluation) * windows.evaluation_length);
    study.kept += static_cast<double>(layers) *
                  (hessian_bytes(s, true, 0) + kFloat * tokens * s.hidden);
    study.any = true;
  };
  if (measures.layer_loss) {
    add(measures.layer_loss->windows, measures.layer_loss->layers.size());
  }
  if (measures.equalization) add(measures.equalization->windows, 1);
  return study;
}

// The unquantized model's forward and, while the cell runs, what it left.
double reference_bytes(const Sizes& s, const ModelConfig& model,
                       const WindowCounts& windows, const Measures& measures,
                       const Study& study) {
  const double chunk =
      chunk_tokens(windows.evaluation, windows.evaluation_length);
  double hidden = static_cast<double>(windows.evaluation_tokens());
  if (measures.layer_loss && !measures.layer_loss->evaluation_moments) {
    hidden += static_cast<double>(windows.calibration_tokens());
  }
  double working = kFloat * s.weights() + forward_bytes(s, chunk, false) +
                   (study.any ? kFloat * chunk * s.hidden : 0);
  if (measures.perplexity) {
    working = std::max(working, evaluate_bytes(s, model, windows, false));
  }
  return kFloat * hidden * s.hidden + study.kept + working;
}

}  // namespace

std::int64_t predict_memory(const ModelConfig& model,
                            const WindowCounts& windows,
                            const Measures& measures, const CellSpec& cell) {
  const Sizes s(model);
  const Study study = study_bytes(s, windows, measures);
  double peak = reference_bytes(s, model, windows, measures, study);
  if (!cell.format) return static_cast<std::int64_t>(kProgram + peak);

  const CellMethod method(cell);
  const double group = numerics::describe(method.format).group;
  const double width = method.options.transform_block > 0
                           ? method.options.transform_block
                           : group;
  const bool full = method.needs_full_hessian;
  const double packed = quantized_bytes(s, cell, width);
  const double solving = solver_bytes(s, full, width);
  const double weights = kFloat * s.weights();
  const double evaluation =
      kFloat * static_cast<double>(windows.evaluation_tokens()) * s.hidden;
  const double calibration =
      kFloat * static_cast<double>(windows.calibration_tokens()) * s.hidden;
  const bool has_reference = study.any || measures.kl;
  const double kept = study.kept + (has_reference ? evaluation : 0);

  if (measures.layer_loss) {
    const auto found = measures.layer_loss->repeats.find(cell.transform.name);
    const double repeats =
        found == measures.layer_loss->repeats.end() ? 1 : found->second;
    const double chunk =
        chunk_tokens(measures.layer_loss->windows, windows.evaluation_length);
    const double measuring = forward_bytes(s, chunk, true) +
                             kFloat * chunk * (s.hidden + 2 * s.inner);
    peak = std::max(
        peak, kept + weights + repeats * packed + std::max(solving, measuring));
  }
  if (measures.equalization) {
    const double chunk =
        chunk_tokens(measures.equalization->windows, windows.evaluation_length);
    const double measuring =
        forward_bytes(s, chunk, false) +
        kFloat * (chunk * s.hidden +
                  3 * std::max(chunk * s.inner, s.largest_weight()));
    peak =
        std::max(peak, kept + weights + packed + std::max(solving, measuring));
  }
  if (measures.perplexity || measures.kl) {
    const double chunk =
        std::max(chunk_tokens(windows.calibration, windows.calibration_length),
                 chunk_tokens(windows.evaluation, windows.evaluation_length));
    const double states = kept + calibration + evaluation;
    const double calibrating =
        forward_bytes(s, chunk, false) + kFloat * chunk * s.hidden;
    peak = std::max({peak,
                     states + weights + hessian_bytes(s, full, width) +
                         std::max(calibrating, packed + solving),
                     states + packed + forward_bytes(s, chunk, true),
                     // A long cell copies its hidden states to save them.
                     states + calibration + evaluation,
                     states + evaluate_bytes(s, model, windows, measures.kl)});
  }
  return static_cast<std::int64_t>(kProgram + peak);
}

}  // namespace wush
