// All cells of one model: what they share, and how each is computed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/checkpoint/checkpoint.h"
#include "lib/device/device.h"
#include "lib/experiment/cell_spec.h"
#include "lib/model/ends.h"
#include "lib/model/rotary.h"
#include "lib/pipeline/layer_loss.h"
#include "lib/pipeline/progress.h"
#include "lib/results/cell.h"
#include "lib/results/partial.h"

namespace wush {

// Texts of a sweep as this model's tokens; all windows of a text are of one
// length. `calibration` may be empty when no cell needs it, `evaluation` when
// nothing is measured on it.
struct SessionInputs {
  Windows calibration;
  Windows evaluation;
  Measures measures;
};

// Computes cells one after another. Weights are read block by block; what stays
// in memory is hidden states, so that memory does not grow with the number of
// blocks.
class ModelSession {
 public:
  // The checkpoint outlives the session. Throws InputError when a measured
  // layer is not one of the model's.
  ModelSession(Device& device, const Checkpoint& checkpoint,
               SessionInputs inputs, Progress& progress);
  ~ModelSession();

  // One cell: layer losses on the unquantized model's inputs, then, for
  // perplexity and divergence, the sequential quantization of the whole model
  // (WUSH, algorithms 1 and 2; GPTQ's calibration order). A cell whose numbers
  // cannot be computed comes back as kFailed with the reason. With `partial`,
  // the state is saved after a decoder block whenever `save_seconds` have gone
  // by, and a saved state is taken up. Throws Interrupted, InputError,
  // OutOfMemoryError.
  CellResult run_cell(const CellSpec& spec, const BlockCheckpoint* partial,
                      double save_seconds);

 private:
  struct CellState;

  void take_up(const BlockCheckpoint& partial, CellState& state,
               CellResult& result);
  void prepare_reference(CellResult& result);
  void study_layer(std::int64_t layer, const DecoderBlock& block,
                   MatrixView<const float> evaluation,
                   MatrixView<const float> calibration);
  LayerStudy make_study(std::int64_t layer, const DecoderBlock& block,
                        MatrixView<const float> evaluation,
                        std::int64_t windows) const;
  void propagate(const DecoderBlock& block, const RotaryTable& rotary,
                 MatrixView<float> hidden, std::int64_t layer);
  void run_layer_loss(const CellSpec& spec, const CellMethod& method,
                      CellState& state, CellResult& result);
  void run_equalization(const CellMethod& method, CellResult& result);
  void run_model(const CellMethod& method, const BlockCheckpoint* partial,
                 double save_seconds, CellState& state, CellResult& result);
  void quantize_block(std::int64_t layer, const CellMethod& method,
                      CellState& state, CellResult& result);

  Device& device_;
  const Checkpoint& checkpoint_;
  SessionInputs inputs_;
  Progress& progress_;
  std::int64_t blocks_;

  // From the unquantized model, made once.
  bool prepared_ = false;
  Matrix<float> final_hidden_;       // evaluation windows behind the last block
  std::vector<LayerStudy> studies_;  // of the layer losses
  std::optional<LayerStudy> equalization_study_;
  std::optional<RotaryTable> evaluation_rotary_, calibration_rotary_;
};

}  // namespace wush
