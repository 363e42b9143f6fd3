#include "analysis/planned_sweep.h"

#include <fmt/format.h>

#include <filesystem>
#include <string>

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

// File name of the text under `text`, without its folder.
std::string text_name(const YamlNode* mapping) {
  const YamlNode* path = mapping == nullptr ? nullptr : mapping->find("text");
  if (path == nullptr) return "";
  return std::filesystem::path(path->text).filename().string();
}

void add_text(const std::string& kind, const std::string& name,
              const std::string& windows, const TextEntry& entry,
              PlannedSweep& plan) {
  plan.texts[kind + "_text"] = name;
  plan.texts[kind + "_" + windows] =
      entry.sequences == 0 ? "all" : std::to_string(entry.sequences);
  plan.texts[kind + "_length"] = std::to_string(entry.length);
}

}  // namespace

PlannedSweep read_planned_sweep(const Results& results,
                                const std::string& source) {
  const std::string document = fmt::format("{}#/config", source);
  YamlNode root = parse_yaml(results.config, document);
  if (YamlNode* models = root.find("models")) {
    for (YamlNode& model : models->items) forget_path(&model, "path");
  }
  const std::string calibration_text = text_name(root.find("calibration"));
  const std::string evaluation_text = text_name(root.find("evaluation"));
  forget_path(root.find("calibration"), "text");
  forget_path(root.find("evaluation"), "text");
  const ExperimentConfig config = parse_experiment(root, document);
  PlannedSweep plan;
  plan.measures = config.measures;
  if (config.calibration) {
    add_text("calibration", calibration_text, "sequences", *config.calibration,
             plan);
  }
  if (!config.measures.throughput) {  // which is of no text
    add_text("evaluation", evaluation_text, "windows", config.evaluation, plan);
  }
  for (const CellSpec& cell : expand_cells(config).cells) {
    plan.cells.push_back(cell.parameters);
  }
  return plan;
}

}  // namespace wush
