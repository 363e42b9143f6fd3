// Changes of an experiment file from the command line: --set a.b=value.
#pragma once

#include <string>

#include "lib/experiment/yaml_document.h"

namespace wush {

// Sets the node at the dotted path of `override_text` ("models.0.path=x") to
// the value, which is YAML. Mappings on the way are made where they are absent.
// Throws InputError that names the override and the column in it.
void apply_override(const std::string& override_text, YamlNode& root);

}  // namespace wush
