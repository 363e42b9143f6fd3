// What a long computation says while it runs. Results never depend on it.
#pragma once

#include <cstdint>
#include <string>

namespace wush {

class Progress {
 public:
  virtual ~Progress() = default;
  // The next step: a stage ("reference", "layer loss", "quantize"), the decoder
  // block it works on and the number of blocks (or windows).
  virtual void step(const std::string& stage, std::int64_t index,
                    std::int64_t count) = 0;
  // The linear that is being quantized, "layer 3, q_proj".
  virtual void linear(const std::string& label) = 0;
  // Something the user has to see: a raised damping, a fallback.
  virtual void note(const std::string& line) = 0;
  // True when the run should stop at the next safe place.
  virtual bool stop_requested() = 0;
};

// Thrown at a safe place after stop_requested(): nothing is lost.
class Interrupted {};

}  // namespace wush
