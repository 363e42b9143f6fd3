#include "lib/support/io_faults.h"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <utility>

#include "lib/support/error.h"

namespace wush::io {
namespace {

constexpr const char* kVariable = "WUSH_IO_FAULT";

struct FaultPlan {
  std::once_flag from_environment;
  std::vector<Fault> faults;
  std::atomic<std::uint64_t> calls{0};
};

FaultPlan& plan() {
  static FaultPlan instance;
  return instance;
}

[[noreturn]] void refuse(std::string_view text) {
  throw InputError(
      kVariable,
      fmt::format("expected KIND@CALL or KIND@CALL+ with KIND one of enospc, "
                  "eio, eintr, short, kill (eintr and kill without +), found "
                  "\"{}\"",
                  text));
}

FaultKind parse_kind(std::string_view name, std::string_view text) {
  static constexpr std::pair<std::string_view, FaultKind> kKinds[] = {
      {"enospc", FaultKind::kNoSpace},
      {"eio", FaultKind::kIoError},
      {"eintr", FaultKind::kInterrupted},
      {"short", FaultKind::kShortWrite},
      {"kill", FaultKind::kKill}};
  for (const auto& [kind_name, kind] : kKinds) {
    if (kind_name == name) return kind;
  }
  refuse(text);
}

Fault parse_fault(std::string_view text) {
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos) refuse(text);
  Fault fault;
  fault.kind = parse_kind(text.substr(0, at), text);
  std::string_view number = text.substr(at + 1);
  if (number.ends_with('+')) {
    fault.onwards = true;
    number.remove_suffix(1);
  }
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size(), fault.call);
  const bool whole = end == number.data() + number.size();
  if (error != std::errc() || !whole || fault.call == 0) refuse(text);
  if (fault.onwards && (fault.kind == FaultKind::kInterrupted ||
                        fault.kind == FaultKind::kKill)) {
    refuse(text);
  }
  return fault;
}

void load_environment() {
  std::call_once(plan().from_environment, [] {
    if (const char* text = std::getenv(kVariable)) {
      plan().faults = parse_faults(text);
    }
  });
}

}  // namespace

std::vector<Fault> parse_faults(const std::string& text) {
  std::vector<Fault> faults;
  std::string_view rest = text;
  while (true) {
    const std::size_t comma = rest.find(',');
    faults.push_back(parse_fault(rest.substr(0, comma)));
    if (comma == std::string_view::npos) return faults;
    rest.remove_prefix(comma + 1);
  }
}

void set_faults(std::vector<Fault> faults) {
  load_environment();
  plan().faults = std::move(faults);
  plan().calls = 0;
}

std::uint64_t call_count() { return plan().calls; }

CallFault next_call() {
  load_environment();
  const std::uint64_t call = ++plan().calls;
  CallFault result;
  for (const Fault& fault : plan().faults) {
    if (call != fault.call && !(fault.onwards && call > fault.call)) continue;
    switch (fault.kind) {
      case FaultKind::kNoSpace:
        result.error = ENOSPC;
        break;
      case FaultKind::kIoError:
        result.error = EIO;
        break;
      case FaultKind::kInterrupted:
        result.error = EINTR;
        break;
      case FaultKind::kShortWrite:
        result.cut = true;
        break;
      case FaultKind::kKill:
        result.kill = true;
        break;
    }
  }
  return result;
}

}  // namespace wush::io
