// Paths in experiment files.
#pragma once

#include <string>

#include "lib/experiment/config.h"
#include "lib/experiment/yaml_document.h"

namespace wush {

// Expands `~` and ${VAR} of the node's text and finds it relative to `folder`,
// else to the working directory. Throws InputError when a variable is not
// defined or nothing is there.
InputPath resolve_path(const YamlNode& node, const std::string& folder);

}  // namespace wush
