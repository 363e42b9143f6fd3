// What a run shows on standard error: on a terminal one live line, otherwise
// one plain line per finished step. Results never depend on it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "lib/pipeline/progress.h"
#include "lib/results/cell.h"

namespace wush {

enum class Verbosity { kQuiet, kNormal, kVerbose };

class Display : public Progress {
 public:
  // `cells` that this run is going to compute.
  Display(std::size_t cells, Verbosity verbosity);
  ~Display() override;
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  void begin_cell(const std::string& label);
  void end_cell(const CellResult& result);

  void step(const std::string& stage, std::int64_t index,
            std::int64_t count) override;
  void linear(const std::string& label) override;
  // Shown even when quiet: what changes the meaning of a number.
  void note(const std::string& line) override;
  bool stop_requested() override;

 private:
  using Clock = std::chrono::steady_clock;

  void print(const std::string& line);
  void refresh(bool now);
  void clear();
  std::string live_line() const;
  std::string remaining() const;

  std::size_t cells_;
  Verbosity verbosity_;
  bool is_live_;
  std::size_t done_ = 0;
  Clock::time_point start_, cell_start_, shown_;
  std::string label_, step_, linear_;
};

// "1:02:03" or "02:03"
std::string format_duration(double seconds);

}  // namespace wush
