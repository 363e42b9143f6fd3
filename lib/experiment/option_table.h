// The options of a cell by the names that an experiment file uses: the one
// place where their text becomes QuantizationOptions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/experiment/yaml_document.h"
#include "lib/quantize/options.h"

namespace wush {

struct OptionInfo {
  std::string name;
  std::string default_text;
  // Canonical text of a value. Throws InputError.
  std::string (*read)(const YamlNode& node);
  // Takes canonical text.
  void (*apply)(const std::string& text, QuantizationOptions& options);
};

// In the order of the columns of a table; the last is `seed`, which stands at
// the top of an experiment file.
const std::vector<OptionInfo>& option_table();

// Null when there is no option of that name.
const OptionInfo* find_option(const std::string& name);

std::vector<std::string> option_names();

// Every option by name with its default in canonical text.
std::map<std::string, std::string> default_options();

// From canonical text by name; other names (parameters of a transform) are left
// out of consideration.
QuantizationOptions to_quantization_options(
    const std::map<std::string, std::string>& options);

}  // namespace wush
