// Dimensions of published models, for what needs no checkpoint: storage and
// throughput.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/checkpoint/config.h"

namespace wush {

// In the order of the papers' tables.
std::vector<std::string> known_architectures();

// The dimensions of a model by its name; what storage and shapes do not depend
// on (RoPE, epsilon, special tokens) keeps its defaults. Nothing when the name
// is not known.
std::optional<ModelConfig> known_architecture(std::string_view name);

}  // namespace wush
