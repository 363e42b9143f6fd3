#include "lib/pipeline/session.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "lib/pipeline/equalization.h"
#include "lib/pipeline/evaluate.h"
#include "lib/pipeline/partial_state.h"
#include "lib/support/error.h"

namespace wush {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Adds the time of a scope to a stage.
class StageTimer {
 public:
  StageTimer(std::map<std::string, double>& seconds, const char* stage)
      : total_(seconds[stage]), start_(Clock::now()) {}
  ~StageTimer() { total_ += seconds_since(start_); }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  double& total_;
  Clock::time_point start_;
};

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

std::int64_t window_length(const Windows& windows) {
  return windows.empty() ? 0 : static_cast<std::int64_t>(windows[0].size());
}

int find_linear(const std::string& name) {
  const auto found =
      std::find_if(kLinears.begin(), kLinears.end(),
                   [&](const LinearInfo& info) { return info.name == name; });
  WUSH_CHECK(found != kLinears.end(), "linear {}", name);
  return static_cast<int>(found - kLinears.begin());
}

// Adds records of single solves. Where the whole model is quantized too, its
// linears stand in the result already; of these solves only what a reader has
// to know is added.
void add_records(bool all, std::vector<LinearRecord> records,
                 CellResult& result) {
  for (LinearRecord& record : records) {
    if (all || record.attempts > 1 || !record.fallback.empty()) {
      result.linears.push_back(std::move(record));
    }
  }
}

}  // namespace

// Hidden states on their way through the blocks of one quantized cell.
struct ModelSession::CellState {
  std::int64_t next_block = 0;
  Matrix<float> calibration;
  Matrix<float> evaluation;
};

ModelSession::ModelSession(Device& device, const Checkpoint& checkpoint,
                           SessionInputs inputs, Progress& progress)
    : device_(device),
      checkpoint_(checkpoint),
      inputs_(std::move(inputs)),
      progress_(progress),
      blocks_(checkpoint.config().num_hidden_layers) {
  const ModelConfig& config = checkpoint.config();
  if (!inputs_.evaluation.empty()) {
    evaluation_rotary_.emplace(device, config,
                               window_length(inputs_.evaluation));
  }
  if (!inputs_.calibration.empty()) {
    calibration_rotary_.emplace(device, config,
                                window_length(inputs_.calibration));
  }
  const auto check_layer = [&](const char* name, int layer) {
    if (layer >= 0 && layer < blocks_) return;
    throw InputError(checkpoint.directory().string(),
                     fmt::format("measure.{}: expected 0 .. {}, found {}", name,
                                 blocks_ - 1, layer));
  };
  if (inputs_.measures.layer_loss) {
    for (const int layer : inputs_.measures.layer_loss->layers) {
      check_layer("layer_loss.layers", layer);
    }
  }
  if (inputs_.measures.equalization) {
    check_layer("equalization.layer", inputs_.measures.equalization->layer);
  }
}

ModelSession::~ModelSession() = default;

// Sends all windows through a block, in place.
void ModelSession::propagate(const DecoderBlock& block,
                             const RotaryTable& rotary,
                             MatrixView<float> hidden, std::int64_t layer) {
  for_chunks(hidden.rows, rotary.cosines.rows(),
             [&](std::int64_t row, std::int64_t rows) {
               block.forward(device_, rotary, hidden.rows_from(row, rows));
             });
  const std::int64_t bad = device_.find_non_finite(hidden);
  if (bad >= 0) {
    throw NumericalError(fmt::format(
        "layer {}: the hidden state is not finite at token {}, channel {}",
        layer, bad / hidden.cols, bad % hidden.cols));
  }
}

// The first windows of the evaluation text as they enter a layer, with empty
// moments.
LayerStudy ModelSession::make_study(std::int64_t layer,
                                    const DecoderBlock& block,
                                    MatrixView<const float> evaluation,
                                    std::int64_t windows) const {
  LayerStudy study;
  study.layer = static_cast<int>(layer);
  const std::int64_t rows =
      std::min(windows, static_cast<std::int64_t>(inputs_.evaluation.size())) *
      window_length(inputs_.evaluation);
  study.hidden = Matrix<float>(device_, rows, evaluation.cols);
  copy(device_, evaluation.rows_from(0, rows), study.hidden.view());
  study.hessians = make_hessians(device_, block, nullptr);
  return study;
}

void ModelSession::study_layer(std::int64_t layer, const DecoderBlock& block,
                               MatrixView<const float> evaluation,
                               MatrixView<const float> calibration) {
  const auto& equalization = inputs_.measures.equalization;
  if (equalization && equalization->layer == layer) {
    LayerStudy study =
        make_study(layer, block, evaluation, equalization->windows);
    accumulate_hessians(device_, block, *evaluation_rotary_,
                        std::as_const(study.hidden).view(), study.hessians);
    equalization_study_ = std::move(study);
  }
  const auto& measure = inputs_.measures.layer_loss;
  if (!measure || std::find(measure->layers.begin(), measure->layers.end(),
                            static_cast<int>(layer)) == measure->layers.end()) {
    return;
  }
  LayerStudy study = make_study(layer, block, evaluation, measure->windows);
  if (measure->evaluation_moments) {
    accumulate_hessians(device_, block, *evaluation_rotary_,
                        std::as_const(study.hidden).view(), study.hessians);
  } else {
    accumulate_hessians(device_, block, *calibration_rotary_, calibration,
                        study.hessians);
  }
  studies_.push_back(std::move(study));
}

// Runs the unquantized model once and keeps what cells need of it.
void ModelSession::prepare_reference(CellResult& result) {
  if (prepared_) return;
  const StageTimer timer(result.seconds, "reference");
  Matrix<float> hidden = embed(device_, checkpoint_, inputs_.evaluation);
  Matrix<float> calibration;
  const auto& measure = inputs_.measures.layer_loss;
  const bool calibrate = measure && !measure->evaluation_moments;
  if (calibrate) {
    calibration = embed(device_, checkpoint_, inputs_.calibration);
  }
  studies_.clear();
  for (std::int64_t layer = 0; layer < blocks_; ++layer) {
    if (progress_.stop_requested()) throw Interrupted();
    progress_.step("reference", layer, blocks_);
    const DecoderBlock block(device_, checkpoint_, layer);
    study_layer(layer, block, hidden.view(), std::as_const(calibration).view());
    propagate(block, *evaluation_rotary_, hidden.view(), layer);
    if (calibrate) {
      propagate(block, *calibration_rotary_, calibration.view(), layer);
    }
  }
  final_hidden_ = std::move(hidden);
  prepared_ = true;
}

void ModelSession::run_layer_loss(const CellSpec& spec,
                                  const CellMethod& method, CellState& state,
                                  CellResult& result) {
  if (!inputs_.measures.layer_loss || state.next_block > 0) return;
  prepare_reference(result);
  const StageTimer timer(result.seconds, "layer loss");
  const auto& repeats = inputs_.measures.layer_loss->repeats;
  const auto found = repeats.find(spec.transform.name);
  std::vector<LinearRecord> records;
  for (const LayerStudy& study : studies_) {
    progress_.step("layer loss", study.layer, blocks_);
    for (LayerLoss& loss : measure_layer_loss(
             device_, checkpoint_, *evaluation_rotary_, study, method,
             found == repeats.end() ? 1 : found->second, progress_, records)) {
      result.layer_loss.push_back(std::move(loss));
    }
  }
  add_records(!inputs_.measures.perplexity && !inputs_.measures.kl,
              std::move(records), result);
}

void ModelSession::run_equalization(const CellMethod& method,
                                    CellResult& result) {
  const auto& measure = inputs_.measures.equalization;
  if (!measure) return;
  prepare_reference(result);
  const StageTimer timer(result.seconds, "equalization");
  progress_.step("equalization", measure->layer, blocks_);
  std::vector<LinearRecord> records;
  result.tables[kEqualizationTable] = measure_equalization(
      device_, checkpoint_, *evaluation_rotary_, *equalization_study_, method,
      find_linear(measure->linear), progress_, records);
  add_records(result.linears.empty(), std::move(records), result);
}

// Calibrates, quantizes and passes one block (spec: "Calibration order").
void ModelSession::quantize_block(std::int64_t layer, const CellMethod& method,
                                  CellState& state, CellResult& result) {
  progress_.step("quantize", layer, blocks_);
  DecoderBlock block(device_, checkpoint_, layer);
  const auto calibration = std::as_const(state.calibration).view();
  {
    SiteHessians hessians = make_hessians(device_, block, &method);
    {
      const StageTimer timer(result.seconds, "calibrate");
      accumulate_hessians(device_, block, *calibration_rotary_, calibration,
                          hessians);
    }
    const StageTimer timer(result.seconds, "solve");
    SolvedBlock solved =
        solve_block(device_, block, layer, hessians, method, 0, progress_);
    if (method.has_tensor_unit()) {
      set_activation_units(device_, block, *calibration_rotary_, calibration,
                           method, solved.linears);
    }
    result.linears.insert(result.linears.end(), solved.records.begin(),
                          solved.records.end());
    install(block, std::move(solved.linears));
  }
  const StageTimer timer(result.seconds, "propagate");
  if (layer + 1 < blocks_) {
    propagate(block, *calibration_rotary_, state.calibration.view(), layer);
  }
  propagate(block, *evaluation_rotary_, state.evaluation.view(), layer);
}

void ModelSession::run_model(const CellMethod& method,
                             const BlockCheckpoint* partial,
                             double save_seconds, CellState& state,
                             CellResult& result) {
  const Measures& measures = inputs_.measures;
  if (!measures.perplexity && !measures.kl) return;
  if (measures.kl) prepare_reference(result);
  if (state.next_block == 0) {
    state.calibration = embed(device_, checkpoint_, inputs_.calibration);
    state.evaluation = embed(device_, checkpoint_, inputs_.evaluation);
  }
  auto saved = Clock::now();
  while (state.next_block < blocks_) {
    quantize_block(state.next_block++, method, state, result);
    if (partial != nullptr && state.next_block < blocks_ &&
        seconds_since(saved) >= save_seconds) {
      const auto calibration = to_host(device_, state.calibration.view());
      const auto evaluation = to_host(device_, state.evaluation.view());
      partial->save(write_partial_header({state.next_block, result.layer_loss,
                                          result.linears, result.seconds}),
                    {{"calibration", calibration}, {"evaluation", evaluation}});
      saved = Clock::now();
    }
  }
  const StageTimer timer(result.seconds, "evaluate");
  const OutputHead head(device_, checkpoint_);
  const auto reference = std::as_const(final_hidden_).view();
  HeadMeasurements measured =
      evaluate_head(device_, head, state.evaluation.view(),
                    measures.kl ? &reference : nullptr, inputs_.evaluation,
                    measures.perplexity, progress_);
  result.perplexity = std::move(measured.perplexity);
  result.divergence = std::move(measured.divergence);
}

// Goes on where an interrupted run of the cell stopped.
void ModelSession::take_up(const BlockCheckpoint& partial, CellState& state,
                           CellResult& result) {
  const std::optional<PartialState> saved = partial.load();
  if (!saved) return;
  PartialHeader header = read_partial_header(saved->header);
  const std::int64_t hidden = checkpoint_.config().hidden_size;
  const auto restore = [&](const char* name) {
    const std::vector<float>& values = saved->arrays.at(name);
    Matrix<float> matrix(
        device_, static_cast<std::int64_t>(values.size()) / hidden, hidden);
    to_device(device_, values.data(), matrix.view());
    return matrix;
  };
  state.calibration = restore("calibration");
  state.evaluation = restore("evaluation");
  state.next_block = header.next_block;
  result.layer_loss = std::move(header.layer_loss);
  result.linears = std::move(header.linears);
  result.seconds = std::move(header.seconds);
  progress_.note(
      fmt::format("taken up at block {} of {}", state.next_block, blocks_));
}

CellResult ModelSession::run_cell(const CellSpec& spec,
                                  const BlockCheckpoint* partial,
                                  double save_seconds) {
  CellResult result;
  result.parameters = spec.parameters;
  try {
    if (!spec.format) {
      prepare_reference(result);
      if (inputs_.measures.perplexity) {
        const StageTimer timer(result.seconds, "evaluate");
        const OutputHead head(device_, checkpoint_);
        result.perplexity =
            evaluate_head(device_, head, std::as_const(final_hidden_).view(),
                          nullptr, inputs_.evaluation, true, progress_)
                .perplexity;
      }
    } else {
      const CellMethod method(spec);
      CellState state;
      if (partial != nullptr) take_up(*partial, state, result);
      run_layer_loss(spec, method, state, result);
      run_model(method, partial, save_seconds, state, result);
      // Last: what a saved state holds need not grow.
      run_equalization(method, result);
    }
  } catch (const NumericalError& error) {
    result.status = CellStatus::kFailed;
    result.error = error.what();
  }
  result.peak_memory_bytes = peak_resident_bytes();
  return result;
}

}  // namespace wush
