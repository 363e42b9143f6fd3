// How evenly a transform spreads a layer over its input channels (WUSH, figure
// 5).
#pragma once

#include <vector>

#include "lib/checkpoint/checkpoint.h"
#include "lib/pipeline/layer_loss.h"
#include "lib/results/table.h"

namespace wush {

// Name of the table among a cell's measurements.
inline constexpr char kEqualizationTable[] = "equalization";

// Root mean square and largest magnitude of every input channel of W T^-1, over
// outputs, and of T x, over the study's tokens, for the linear of that index
// (kLinears); W and x are the unquantized model's, T is what the method fits
// from the study's moments (repeat 0). A row a channel, columns channel
// (int64), weight_rms, weight_max, activation_rms and activation_max (float64);
// attributes layer (int64), linear (text), tokens (int64). Records of the
// linear's solve are appended to `records`. Throws NumericalError, Interrupted.
DataTable measure_equalization(Device& device, const Checkpoint& checkpoint,
                               const RotaryTable& rotary,
                               const LayerStudy& study,
                               const CellMethod& method, int linear,
                               Progress& progress,
                               std::vector<LinearRecord>& records);

}  // namespace wush
