// Mean squared error of single quantized linears (paper table 1).
#pragma once

#include <vector>

#include "lib/checkpoint/checkpoint.h"
#include "lib/experiment/cell_spec.h"
#include "lib/pipeline/solve_block.h"

namespace wush {

// What the unquantized model leaves for the layer losses of one decoder block:
// the hidden states that enter it, and the second moments of its linears'
// inputs. Shared by all cells of a model.
struct LayerStudy {
  int layer = 0;
  Matrix<float> hidden;   // [windows * length, hidden_size]
  SiteHessians hessians;  // whole
};

// Losses of the seven linears, each quantized on its own from the study's
// moments: mean over tokens and outputs of (Q(W T^-1) Q(T x) - W x)^2 with x
// the unquantized model's input; biases cancel. `repeats` draws of a random
// transform are averaged. Records of the solves are appended to `records`.
// Decode constants of activations, where they are per tensor, come from the
// tokens the loss is measured on.
std::vector<LayerLoss> measure_layer_loss(
    Device& device, const Checkpoint& checkpoint, const RotaryTable& rotary,
    const LayerStudy& study, const CellMethod& method, int repeats,
    Progress& progress, std::vector<LinearRecord>& records);

}  // namespace wush
