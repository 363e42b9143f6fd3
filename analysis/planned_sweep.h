// What the sweep behind a results file was to compute.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/experiment/cell_spec.h"
#include "lib/results/reader.h"

namespace wush {

struct PlannedSweep {
  std::vector<CellParameters> cells;  // in plan order
  Measures measures;
  std::int64_t calibration_sequences = 0;  // 0: there is no calibration
};

// The plan that the stored configuration describes. The checkpoints and texts
// that it names need not be on this machine. Throws InputError when the
// configuration is not one that this program writes.
PlannedSweep read_planned_sweep(const Results& results,
                                const std::string& source);

}  // namespace wush
