#include "experiments/display.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "lib/support/interrupt.h"

namespace wush {
namespace {

constexpr auto kRefresh = std::chrono::milliseconds(100);

double seconds_between(std::chrono::steady_clock::time_point from,
                       std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::size_t terminal_width() {
  winsize size{};
  constexpr std::size_t kUsual = 80;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return kUsual;
  }
  return size.ws_col;
}

// Its measurements in a few words.
std::string summary(const CellResult& result) {
  if (result.status == CellStatus::kFailed) return "FAILED: " + result.error;
  std::string text;
  const auto append = [&](const std::string& part) {
    text += (text.empty() ? "" : ", ") + part;
  };
  if (!result.layer_loss.empty()) {
    append(fmt::format("{} layer losses", result.layer_loss.size()));
  }
  if (result.perplexity) {
    append(fmt::format("perplexity {:.4g}", result.perplexity->value));
  }
  if (result.divergence) {
    append(fmt::format("kl {:.4g}", result.divergence->kl));
  }
  return text.empty() ? "done" : text;
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  const std::int64_t hours = whole / 3600;
  const std::int64_t minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{:02}:{:02}", minutes, whole % 60);
}

Display::Display(std::size_t cells, Verbosity verbosity)
    : cells_(cells),
      verbosity_(verbosity),
      is_live_(verbosity != Verbosity::kQuiet && isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      cell_start_(start_),
      shown_(start_ - kRefresh) {}

Display::~Display() { clear(); }

void Display::begin_cell(const std::string& label) {
  label_ = label;
  step_.clear();
  linear_.clear();
  cell_start_ = Clock::now();
  refresh(true);
}

void Display::end_cell(const CellResult& result) {
  ++done_;
  if (verbosity_ == Verbosity::kQuiet && result.status != CellStatus::kFailed) {
    return;
  }
  print(fmt::format("cell {}/{} {}: {} ({:.1f} s)", done_, cells_, label_,
                    summary(result),
                    seconds_between(cell_start_, Clock::now())));
  label_.clear();
}

void Display::step(const std::string& stage, std::int64_t index,
                   std::int64_t count) {
  const std::string text = fmt::format("{} {}/{}", stage, index + 1, count);
  if (verbosity_ == Verbosity::kVerbose && text != step_) {
    print(fmt::format("  {}: {}", label_, text));
  }
  step_ = text;
  linear_.clear();
  refresh(false);
}

void Display::linear(const std::string& label) {
  linear_ = label;
  refresh(false);
}

void Display::note(const std::string& line) {
  print(label_.empty() ? line : fmt::format("{}: {}", label_, line));
}

bool Display::stop_requested() { return interrupted(); }

void Display::print(const std::string& line) {
  clear();
  fmt::print(stderr, "{}\n", line);
  refresh(true);
}

void Display::clear() {
  if (is_live_) fmt::print(stderr, "\r\033[K");
}

void Display::refresh(bool now) {
  if (!is_live_ || label_.empty()) return;
  const auto time = Clock::now();
  if (!now && time - shown_ < kRefresh) return;
  shown_ = time;
  fmt::print(stderr, "\r\033[K{}", live_line().substr(0, terminal_width() - 1));
  std::fflush(stderr);
}

std::string Display::live_line() const {
  std::string line = fmt::format("cell {}/{} {}", done_ + 1, cells_, label_);
  if (!step_.empty()) line += " | " + step_;
  if (!linear_.empty()) line += " | " + linear_;
  return line +
         fmt::format(" | {} elapsed{}",
                     format_duration(seconds_between(start_, Clock::now())),
                     remaining());
}

// From the mean of the cells done so far.
std::string Display::remaining() const {
  if (done_ == 0) return "";
  const double mean =
      seconds_between(start_, cell_start_) / static_cast<double>(done_);
  const double left = mean * static_cast<double>(cells_ - done_) -
                      seconds_between(cell_start_, Clock::now());
  return fmt::format(", {} left", format_duration(left > 0 ? left : 0));
}

}  // namespace wush
