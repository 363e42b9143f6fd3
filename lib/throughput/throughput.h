// The throughput experiment: seconds of one linear on a device, through every
// path, at every shape.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/experiment/cell_spec.h"
#include "lib/experiment/plan.h"
#include "lib/pipeline/progress.h"
#include "lib/results/cell.h"
#include "lib/throughput/backend.h"

namespace wush {

// The shapes of a cell, layers outermost.
struct ThroughputProblem {
  std::string layer;  // empty for a shape given without a model
  LinearProblem linear;
};
std::vector<ThroughputProblem> throughput_problems(
    const ThroughputMeasure& measure, const CellSpec& cell);

// What is timed at each shape of a cell: the baselines, then (for a format) the
// pipelines.
std::vector<std::string> throughput_paths(const ThroughputBackend& backend,
                                          const ThroughputMeasure& measure,
                                          const CellSpec& cell);

// Measures a cell. At every shape all paths are verified (lib/throughput/
// verify.h) before any is timed; then `warmup` and `repeats` rounds, each of
// one sample of every path, so that what changes in between (clocks, other
// processes) meets all alike. The table kThroughputTable of the result has one
// row a path of a shape: columns tokens, outputs, inputs (int64), layer, path
// (text), seconds (median), seconds_p25, seconds_p75, seconds_min, repeats,
// rotation_bytes; attributes are the backend's, device,
// copy_bytes_per_second and cache_bytes. A verification that fails or a kernel
// that refuses a shape makes the cell kFailed with the reason. Throws
// Interrupted.
CellResult measure_throughput(ThroughputBackend& backend,
                              const ThroughputMeasure& measure,
                              const CellSpec& cell, Progress& progress);

// Names what times depend on beside the cell: the device and what runs on it.
std::string throughput_mode(const ThroughputBackend& backend);

// Largest memory of a cell's buffers in bytes, operations of all its samples
// (one launch each), and bytes of its result.
std::int64_t predict_throughput_bytes(const ThroughputBackend& backend,
                                      const ThroughputMeasure& measure,
                                      const CellSpec& cell);
double predict_throughput_work(const ThroughputBackend& backend,
                               const ThroughputMeasure& measure,
                               const CellSpec& cell);
DiskUse predict_throughput_disk(const ThroughputMeasure& measure,
                                const CellSpec& cell);

}  // namespace wush
