// Argument checks that the quantizing functions share.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/numerics/group_quantizer.h"

namespace wush::kernels {

// Throws std::invalid_argument.
inline void check_quantize(numerics::Format format, float unit,
                           std::int64_t cols) {
  const auto& description = numerics::describe(format);
  if (cols % description.group != 0) {
    throw std::invalid_argument("expected columns in groups of " +
                                std::to_string(description.group) + " for " +
                                std::string(description.name) + ", found " +
                                std::to_string(cols));
  }
  if (!numerics::is_valid_unit(format, unit)) {
    throw std::invalid_argument("expected a tensor scale that " +
                                std::string(description.name) +
                                " can have, found " + std::to_string(unit));
  }
}

}  // namespace wush::kernels
