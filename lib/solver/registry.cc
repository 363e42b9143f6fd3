#include "lib/solver/registry.h"

#include <fmt/format.h>

#include <stdexcept>

namespace wush {

const std::vector<SolverInfo>& solver_registry() {
  static const std::vector<SolverInfo> kRegistry = {
      {"rtn", "round to nearest; WUSH, arXiv 2512.00956, algorithm 1",
       SolverKind::kRtn, false},
      {"gptq", "GPTQ, arXiv 2210.17323; WUSH, arXiv 2512.00956, algorithm 2",
       SolverKind::kGptq, true},
      {"babai", "Babai's nearest plane, last block first", SolverKind::kBabai,
       true},
  };
  return kRegistry;
}

const SolverInfo& find_solver(const std::string& name) {
  std::string names;
  for (const SolverInfo& info : solver_registry()) {
    if (info.name == name) return info;
    names += (names.empty() ? "" : ", ") + info.name;
  }
  throw std::invalid_argument(
      fmt::format("expected a solver ({}), found \"{}\"", names, name));
}

}  // namespace wush
