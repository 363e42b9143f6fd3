// Where and by what results were computed.
#pragma once

#include "lib/device/device.h"
#include "lib/experiment/inputs.h"
#include "lib/results/store.h"

namespace wush {

// Version of the program and its compiler, machine, device, libraries, threads,
// digests of what was read, notes about it and the time now (UTC).
Provenance make_provenance();
Provenance make_provenance(const Device& device, int threads,
                           const SweepInputs& inputs);

}  // namespace wush
