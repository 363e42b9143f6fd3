// plan.json: what a run is about to compute.
#pragma once

#include <filesystem>

#include "lib/results/store.h"
#include "lib/support/error.h"

namespace wush {

// The folder was written by a program with another schema.
class SchemaVersionError : public InputError {
 public:
  using InputError::InputError;
};

// The text of plan.json; ends with the SHA-256 of everything else it says.
std::string plan_text(const Plan& plan);

// Reads NAME.d/plan.json. InputError when it is absent, is not what the schema
// says or does not match its own digest; SchemaVersionError when it is of
// another version.
Plan read_plan(const std::filesystem::path& path);

}  // namespace wush
