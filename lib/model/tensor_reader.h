// From the checkpoint to the device.
#pragma once

#include <string>

#include "lib/checkpoint/checkpoint.h"
#include "lib/device/device.h"

namespace wush {

// A tensor of shape [rows, cols], or [cols] when rows is 0 (then [1, cols] on
// the device), widened to float32. Throws InputError.
Matrix<float> read_tensor(Device& device, const Checkpoint& checkpoint,
                          const std::string& name, std::int64_t rows,
                          std::int64_t cols);

}  // namespace wush
