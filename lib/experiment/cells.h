// The cells of an experiment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/experiment/cell_spec.h"
#include "lib/experiment/config.h"

namespace wush {

struct ExpandedSweep {
  // Per model: the unquantized model first (format "none"), then the product of
  // the axes in the order of `config.axes`, the last varying fastest.
  std::vector<CellSpec> cells;
  // How many cells each exclusion removed.
  std::vector<std::int64_t> excluded;
};

// The full product: an option that happens not to matter for a cell (damping
// for rtn without a fitted transform, say) still makes one cell per value, so
// that what a file asks for is what a table shows. Throws InputError when a
// cell's transform_block is not a multiple of its format's group.
ExpandedSweep expand_cells(const ExperimentConfig& config);

// One line naming a cell: model, format, transform with its parameters, method
// and those options that are not the experiment's own.
std::string cell_label(const CellParameters& parameters,
                       const ExperimentConfig& config);

// Which share of a sweep one of several processes computes: every cell whose
// position is `index` modulo `count`.
struct TaskShare {
  std::size_t index = 0;  // from 0
  std::size_t count = 1;

  bool has(std::size_t cell) const { return cell % count == index; }
};

// Parses "i/n" with 1 <= i <= n. Throws InputError.
TaskShare parse_task(const std::string& text);

}  // namespace wush
