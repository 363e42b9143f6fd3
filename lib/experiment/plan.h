// What a sweep will cost, before it runs: floating point operations by stage
// and bytes on disk. (Memory is predicted from the pipeline's buffers,
// lib/pipeline/footprint.h.)
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "lib/checkpoint/config.h"
#include "lib/experiment/cell_spec.h"

namespace wush {

// Windows of a sweep's texts for one model.
struct WindowCounts {
  std::int64_t calibration = 0;         // number of windows
  std::int64_t calibration_length = 0;  // tokens
  std::int64_t evaluation = 0;
  std::int64_t evaluation_length = 0;

  std::int64_t calibration_tokens() const {
    return calibration * calibration_length;
  }
  std::int64_t evaluation_tokens() const {
    return evaluation * evaluation_length;
  }
};

// Additions and multiplications by stage, named as in CellResult::seconds:
// "reference" (counted with the unquantized model, whose hidden states all
// cells share), "layer loss", "calibrate", "solve", "propagate", "evaluate".
// Elementwise work is left out: it is less than one operation in hundred.
using Work = std::map<std::string, double>;

Work predict_work(const ModelConfig& model, const WindowCounts& windows,
                  const Measures& measures, const CellSpec& cell);

double total(const Work& work);

// Bytes that a cell takes in NAME.d and again in NAME.h5, and the bytes of its
// saved state while it runs.
struct DiskUse {
  std::int64_t result = 0;
  std::int64_t partial = 0;
};

DiskUse predict_disk(const ModelConfig& model, const WindowCounts& windows,
                     const Measures& measures, const CellSpec& cell);

}  // namespace wush
