// The header of a half-finished cell's saved state.
#pragma once

#include <cstdint>
#include <string>

#include "lib/results/cell.h"

namespace wush {

// Everything of a cell that exists before its last block is done, except the
// hidden states. `next_block` is the first block still to be quantized.
struct PartialHeader {
  std::int64_t next_block = 0;
  std::vector<LayerLoss> layer_loss;
  std::vector<LinearRecord> linears;
  std::map<std::string, double> seconds;
};

std::string write_partial_header(const PartialHeader& header);
// Throws std::exception when the text is not what write_partial_header makes.
PartialHeader read_partial_header(const std::string& text);

}  // namespace wush
