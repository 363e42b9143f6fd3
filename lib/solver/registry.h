// The solvers by the name an experiment file uses.
#pragma once

#include <string>
#include <vector>

namespace wush {

enum class SolverKind { kRtn, kGptq, kBabai };

struct SolverInfo {
  std::string name;
  std::string source;  // paper and algorithm
  SolverKind kind;
  bool needs_full_hessian;
};

const std::vector<SolverInfo>& solver_registry();

// Throws std::invalid_argument, naming the valid names, when there is none.
const SolverInfo& find_solver(const std::string& name);

}  // namespace wush
