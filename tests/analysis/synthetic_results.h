// Results files with numbers that a test chooses, stored through lib/results.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "lib/results/cell.h"

namespace wush::testing {

// A folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// What a synthetic sweep is: `sweep` is the YAML under `sweep:`.
struct SyntheticSweep {
  std::string name = "synthetic";
  std::string model = "tiny";
  std::string sweep =
      "{format: [mxfp4, nvfp4], transform: [identity, hadamard, wush], "
      "method: [rtn]}";
  int calibration_sequences = 4;
  // Fills the measurements of the cell at a position of the plan; false leaves
  // the cell out of the results.
  std::function<bool(std::size_t index, CellResult& cell)> fill;
};

// Fills every measurement with numbers that depend on the position.
bool fill_all(std::size_t index, CellResult& cell);

// Stores the sweep in FOLDER/NAME.d and merges it; returns FOLDER/NAME.h5.
std::filesystem::path store_sweep(const std::filesystem::path& folder,
                                  const SyntheticSweep& sweep);

}  // namespace wush::testing
