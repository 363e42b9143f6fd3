// The measurements that an experiment file may ask for; one entry each.
#pragma once

#include <string>
#include <vector>

#include "lib/experiment/cell_spec.h"
#include "lib/experiment/yaml_document.h"

namespace wush {

struct MeasureInfo {
  std::string name;
  bool quantized_only;  // not taken of the unquantized model
  // Reads the mapping under `measure: {name: ...}`; relative paths begin at
  // `folder`. Throws InputError.
  void (*read)(const YamlNode& node, const std::string& folder,
               Measures& measures);
  // Is it asked for?
  bool (*present)(const Measures& measures);
  // The mapping with every default filled in, when it is present.
  YamlNode (*resolve)(const Measures& measures);
};

const std::vector<MeasureInfo>& measure_table();

}  // namespace wush
