// Reading one tensor's values as float32.
#pragma once

#include <span>

#include "lib/checkpoint/safetensors.h"

namespace wush {

// Widens an entry of `file` to float32 (exactly), row-major, in pieces of 1
// MiB. The entry's type is one of is_weight_type(); `out` has its number of
// values. Errors: InputError("file#/tensor: expected a finite value at [i, j],
// found nan") and those of InputFile::read.
void read_weights(const SafetensorsFile& file, const SafetensorsEntry& entry,
                  std::span<float> out);

}  // namespace wush
