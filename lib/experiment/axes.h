// The values of a sweep: entries of an axis and conditions of an exclusion.
#pragma once

#include <string>
#include <vector>

#include "lib/experiment/config.h"
#include "lib/experiment/yaml_document.h"

namespace wush {

// Names that may stand under `sweep`: format, transform, method, every option.
std::vector<std::string> axis_names();

// An axis from a scalar, an entry or a list of them. A list within an entry
// ({kind: kbbq, lambda: [0.5, 0.75]}) stands for one entry each. Throws
// InputError on unknown names, missing parameters and values given twice.
Axis read_axis(const std::string& name, const YamlNode& node);

// A condition of an exclusion; parameters that an entry does not name match
// any value. `model_names` are what `model:` may say.
Condition read_condition(const std::string& name, const YamlNode& node,
                         const std::vector<std::string>& model_names);

// How an experiment file writes a value.
YamlNode resolve_axis_value(const AxisValue& value);

}  // namespace wush
