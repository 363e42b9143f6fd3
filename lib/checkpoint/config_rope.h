// The rotary part of a config.json, in both of its spellings.
#pragma once

#include "lib/checkpoint/config.h"
#include "lib/support/json.h"

namespace wush {

// Reads rope_theta with rope_scaling, or rope_parameters, of a config's root.
RopeConfig read_rope(const JsonValue& root);

}  // namespace wush
