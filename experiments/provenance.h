// Where and by what results were computed.
#pragma once

#include <string>

#include "lib/experiment/inputs.h"
#include "lib/results/store.h"

namespace wush {

// Version of the program and its compiler, machine, device, libraries, threads,
// digests of what was read, notes about it and the time now (UTC).
Provenance make_provenance();
Provenance make_provenance(const std::string& device,
                           const std::string& description, int threads,
                           const SweepInputs& inputs);

}  // namespace wush
