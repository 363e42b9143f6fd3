// What the throughput experiment asks of a device: the kernels of one linear,
// on inputs that the experiment chooses.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/numerics/format.h"
#include "lib/results/table.h"
#include "lib/throughput/random_values.h"

namespace wush {

// One linear y [tokens, outputs] = x [tokens, inputs] W^T.
struct LinearProblem {
  std::int64_t tokens = 0;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  // Of activations and weights; nothing: the baselines alone.
  std::optional<numerics::Format> format;
  numerics::ScaleRule activation_scale = numerics::ScaleRule::kAbsMax;
  int transform_block = 0;  // channels that a transform spans

  double operations() const {
    return 2.0 * static_cast<double>(tokens) * static_cast<double>(outputs) *
           static_cast<double>(inputs);
  }
};

// A row of a packed matrix (layout: kernels/cpu/quantize.h).
struct PackedRow {
  std::vector<std::uint8_t> codes;   // [inputs / 2]
  std::vector<std::uint8_t> scales;  // [inputs / group] of 1 or 2 bytes
};

// By how much a computed y may differ from an exact sum of products of the
// operands: |y - sum| <= output |sum| + products sum |x w|.
struct RoundingBound {
  double output = 0;
  double products = 0;
};

// Buffers that a problem is timed on.
struct Rotation {
  std::int64_t sets = 0;   // of weights, one after another
  std::int64_t bytes = 0;  // of all sets, as the fastest path reads them
};

// A path is a baseline or one of kThroughputPipelines. Calls of one backend
// come from one thread. Throws OutOfMemoryError, and NumericalError when a
// kernel refuses the problem or a device call fails.
class ThroughputBackend {
 public:
  virtual ~ThroughputBackend() = default;

  virtual std::string name() const = 0;         // as given by --device
  virtual std::string device() const = 0;       // what times are of
  virtual std::string description() const = 0;  // with libraries
  // Everything to know about the times measured so far: clocks, versions.
  virtual std::map<std::string, DataValue> attributes() const = 0;
  // Products of unquantized operands, the fastest first.
  virtual std::vector<std::string> baselines() const = 0;
  // The cache that rotations have to leave behind, in bytes.
  virtual std::int64_t cache_bytes() const = 0;
  // Bytes of device memory that prepare() takes for a problem.
  virtual std::int64_t predict_bytes(const LinearProblem& problem) const = 0;
  // Bytes read and written a second by copies larger than the cache; measured
  // when first asked for.
  virtual double copy_bandwidth() = 0;

  // Fills operands with `values` (weights, activations and, for "wush",
  // matrices of T) and packs them; enough sets of them that in rotation they
  // come from memory. Replaces what was prepared before.
  virtual Rotation prepare(const LinearProblem& problem,
                           const RandomValues& values) = 0;
  // Computes a path once, on the first set, and waits for it.
  virtual void run(const std::string& path) = 0;
  // Row `token` of the last run's y.
  virtual std::vector<float> output(std::int64_t token) = 0;
  // Row `token` of the activations as the last run's pipeline packed them.
  virtual PackedRow packed_activations(std::int64_t token) = 0;
  virtual RoundingBound rounding(const std::string& path) const = 0;
  // One sample: seconds of a path, on the next sets of the rotation. The path
  // has been run() before.
  virtual double time(const std::string& path) = 0;
};

// "cpu" or "cuda:N". Throws DeviceError for a device that is not there.
// threads: of the CPU; 0 = all processors this process may use.
std::unique_ptr<ThroughputBackend> make_throughput_backend(
    const std::string& name, int threads);

}  // namespace wush
