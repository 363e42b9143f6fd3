// The CPU's share of the throughput experiment.
#pragma once

#include <memory>

#include "lib/throughput/backend.h"

namespace wush {

// Times the operations of the CPU device as `wush run` uses them: the baseline
// "float32" is OpenBLAS's sgemm in tiles, one for each thread; the product of
// packed operands decodes both to float32 and then takes that sgemm. One
// sample is one call.
std::unique_ptr<ThroughputBackend> make_cpu_throughput_backend(int threads);

}  // namespace wush
