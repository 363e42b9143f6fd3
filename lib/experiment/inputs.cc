#include "lib/experiment/inputs.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "lib/experiment/measure_table.h"
#include "lib/experiment/throughput_measure.h"
#include "lib/experiment/yaml_document.h"
#include "lib/results/store.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"
#include "lib/text/corpus.h"
#include "lib/text/tokenizer.h"

namespace wush {
namespace {

// Raised by hand whenever the same cell gets other numbers.
constexpr int kNumericRevision = 1;

std::vector<std::vector<std::int32_t>> read_windows(
    const Tokenizer& tokenizer, const Checkpoint& checkpoint, const Text& text,
    const TextSpec& spec) {
  return cut_windows(
      tokenize_text(tokenizer, text, checkpoint.config().vocab_size),
      spec.length, spec.sequences, text.name);
}

// The texts of a sweep, read once for all its models.
struct Texts {
  Text evaluation;
  std::optional<Text> calibration;
};

// Throws InputError at `place` when the model lacks the layer.
void check_layer(const YamlPlace& place, const ModelInputs& model, int layer) {
  const std::int64_t blocks = model.checkpoint.config().num_hidden_layers;
  if (layer < blocks) return;
  throw InputError(
      place.to_string(),
      fmt::format("expected layers from 0 to {} of model {}, found {}",
                  blocks - 1, model.name, layer));
}

// Throws InputError at `place` when the evaluation text is shorter.
void check_windows(const YamlPlace& place, const ModelInputs& model,
                   const std::string& measure, std::int64_t wanted) {
  const auto windows = static_cast<std::int64_t>(model.evaluation.size());
  if (wanted <= windows) return;
  throw InputError(
      place.to_string(),
      fmt::format("expected measure.{}.windows of at most the {} evaluation "
                  "windows of model {}, found {}",
                  measure, windows, model.name, wanted));
}

void check_measures(const ExperimentConfig& config, const ModelInputs& model) {
  const Measures& measures = config.measures;
  if (measures.layer_loss) {
    for (const int layer : measures.layer_loss->layers) {
      check_layer(config.layers_place, model, layer);
    }
    check_windows(config.layers_place, model, "layer_loss",
                  measures.layer_loss->windows);
  }
  if (measures.equalization) {
    check_layer(config.equalization_place, model, measures.equalization->layer);
    check_windows(config.equalization_place, model, "equalization",
                  measures.equalization->windows);
  }
}

ModelInputs load_model(const ExperimentConfig& config, const ModelEntry& entry,
                       const Texts& texts) {
  const Tokenizer tokenizer = Tokenizer::load(entry.path.resolved);
  ModelInputs model{entry.name, Checkpoint::open(entry.path.resolved), {}, {}};
  model.evaluation = read_windows(tokenizer, model.checkpoint, texts.evaluation,
                                  config.evaluation.spec());
  if (config.calibration) {
    model.calibration =
        read_windows(tokenizer, model.checkpoint, *texts.calibration,
                     config.calibration->spec());
  }
  check_measures(config, model);
  return model;
}

void note_line_ends(SweepInputs& inputs, const std::string& role,
                    const Text& text) {
  if (text.converted_line_ends == 0) return;
  inputs.notes[role] =
      fmt::format("{} line ends of {} were CR LF or CR, read as LF",
                  text.converted_line_ends, text.name);
}

std::string window_text(const TextEntry& entry) {
  return fmt::format(
      "{} x {}", entry.sequences == 0 ? "all" : std::to_string(entry.sequences),
      entry.length);
}

// Its own model's layers only: another architecture in the same file changes
// nothing. The baselines are not timed with any pipeline.
std::map<std::string, std::string> throughput_inputs(
    ThroughputMeasure measure, const CellSpec& cell,
    const std::string& numeric_mode) {
  std::erase_if(measure.models, [&](const ThroughputModel& model) {
    return model.name != cell.parameters.model;
  });
  if (!cell.format) measure.pipelines.clear();
  return {{"measure throughput", format_yaml(resolve_throughput(measure))},
          {"numeric mode", numeric_mode}};
}

}  // namespace

SweepInputs load_inputs(const ExperimentConfig& config) {
  SweepInputs inputs;
  if (config.measures.throughput) return inputs;  // reads nothing
  Texts texts;
  const auto read = [&](const std::string& role, const TextEntry& entry) {
    const auto& path = entry.text.resolved;
    Text text;
    inputs.digests[role] =
        sha256_while_reading(path, [&] { text = read_text(path); });
    note_line_ends(inputs, role, text);
    return text;
  };
  texts.evaluation = read("evaluation", config.evaluation);
  if (config.calibration) {
    texts.calibration = read("calibration", *config.calibration);
  }
  for (const ModelEntry& entry : config.models) {
    inputs.digests["tokenizer " + entry.name] = sha256_while_reading(
        std::filesystem::path(entry.path.resolved) / "tokenizer.json",
        [&] { inputs.models.push_back(load_model(config, entry, texts)); });
    inputs.digests["checkpoint " + entry.name] =
        inputs.models.back().checkpoint.digest();
  }
  return inputs;
}

std::map<std::string, std::string> cell_inputs(
    const ExperimentConfig& config, const CellSpec& cell,
    const std::map<std::string, std::string>& digests,
    const std::string& numeric_mode) {
  if (config.measures.throughput) {
    return throughput_inputs(*config.measures.throughput, cell, numeric_mode);
  }
  const std::string& model = cell.parameters.model;
  std::map<std::string, std::string> inputs = {
      {"checkpoint", digests.at("checkpoint " + model)},
      {"tokenizer", digests.at("tokenizer " + model)},
      {"evaluation", digests.at("evaluation")},
      {"evaluation windows", window_text(config.evaluation)},
      {"numeric mode", numeric_mode},
  };
  const bool is_quantized = cell.format.has_value();
  if (is_quantized) {
    inputs["calibration"] = digests.at("calibration");
    inputs["calibration windows"] = window_text(*config.calibration);
  }
  for (const MeasureInfo& info : measure_table()) {
    if (!info.present(config.measures)) continue;
    if (!is_quantized && info.quantized_only) continue;
    inputs["measure " + info.name] = format_yaml(info.resolve(config.measures));
  }
  return inputs;
}

std::string numeric_mode(const std::string& device) {
  return fmt::format("{} revision {}", device.substr(0, device.find(':')),
                     kNumericRevision);
}

std::vector<std::string> cell_keys(
    const ExperimentConfig& config, const std::vector<CellSpec>& cells,
    const std::map<std::string, std::string>& digests,
    const std::string& numeric_mode) {
  std::vector<std::string> keys;
  for (const CellSpec& cell : cells) {
    keys.push_back(cell_key(cell.parameters,
                            cell_inputs(config, cell, digests, numeric_mode)));
  }
  return keys;
}

}  // namespace wush
