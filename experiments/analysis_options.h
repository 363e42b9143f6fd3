// What `wush table`, `wush figure` and `wush report` share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "analysis/registry.h"

namespace wush {

// What the command line gives an AnalysisRequest.
struct RequestOptions {
  std::vector<std::string> results;
  std::string baseline;
  bool published = false;

  // Adds the results, --baseline and --published.
  void add_to(CLI::App& command);
  AnalysisRequest request() const;
};

// "\n  name  description" of every entry of a registry, for --help.
template <class Registry>
std::string list_entries(const Registry& registry) {
  std::string text;
  for (const auto& entry : registry) {
    std::string name = entry.name;
    name.resize(name.size() < 14 ? 14 : name.size() + 1, ' ');
    text += "\n  " + name + entry.description;
  }
  return text;
}

}  // namespace wush
