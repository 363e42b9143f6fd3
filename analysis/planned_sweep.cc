#include "analysis/planned_sweep.h"

#include <fmt/format.h>

#include "lib/experiment/cells.h"
#include "lib/experiment/config.h"
#include "lib/experiment/yaml_document.h"

namespace wush {
namespace {

// Reading an experiment checks that its paths exist. Here only the sweep
// matters, so every path is replaced by one that exists everywhere.
void forget_path(YamlNode* mapping, const char* key) {
  if (mapping == nullptr) return;
  if (YamlNode* path = mapping->find(key)) path->text.assign(1, '/');
}

}  // namespace

PlannedSweep read_planned_sweep(const Results& results,
                                const std::string& source) {
  const std::string document = fmt::format("{}#/config", source);
  YamlNode root = parse_yaml(results.config, document);
  if (YamlNode* models = root.find("models")) {
    for (YamlNode& model : models->items) forget_path(&model, "path");
  }
  forget_path(root.find("calibration"), "text");
  forget_path(root.find("evaluation"), "text");
  const ExperimentConfig config = parse_experiment(root, document);
  PlannedSweep plan;
  plan.measures = config.measures;
  if (config.calibration) {
    plan.calibration_sequences = config.calibration->sequences;
  }
  for (const CellSpec& cell : expand_cells(config).cells) {
    plan.cells.push_back(cell.parameters);
  }
  return plan;
}

}  // namespace wush
