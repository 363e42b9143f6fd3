// Rotary position embedding (Su et al. 2021, arXiv 2104.09864).
#pragma once

#include "lib/checkpoint/config.h"
#include "lib/device/device.h"

namespace wush {

// Cosines and sines of the first `length` positions, [length, head_dim / 2],
// multiplied with the attention factor of yarn. Angles are taken in float32, as
// the models were trained with.
struct RotaryTable {
  RotaryTable(Device& device, const ModelConfig& config, std::int64_t length);
  Matrix<float> cosines;
  Matrix<float> sines;
};

}  // namespace wush
