// What the sweep behind a results file was to compute.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/experiment/cell_spec.h"
#include "lib/results/reader.h"

namespace wush {

struct PlannedSweep {
  std::vector<CellParameters> cells;  // in plan order
  Measures measures;
  // Names of the texts and their windows, which are not options of a cell:
  // calibration_text, calibration_sequences, calibration_length,
  // evaluation_text, evaluation_length and evaluation_windows.
  std::map<std::string, std::string> texts;
};

// The plan that the stored configuration describes. The checkpoints and texts
// that it names need not be on this machine. Throws InputError when the
// configuration is not one that this program writes.
PlannedSweep read_planned_sweep(const Results& results,
                                const std::string& source);

}  // namespace wush
