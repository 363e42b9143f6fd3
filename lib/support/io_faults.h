// Faults on purpose in the calls of lib/support/io.h, for tests.
//
// Every call is counted from 1. A fault plan names calls by number and what
// happens to them:
//   enospc@N  the call fails with "no space left on device"
//   eio@N     the call fails with "input/output error"
//   eintr@N   the call is interrupted by a signal before it did anything
//   short@N   a write takes only half of its bytes; other calls are not changed
//   kill@N    the process gets SIGKILL; a write stores half of its bytes first
// "enospc@N+" applies to the Nth call and to all that follow (not for eintr,
// which would never end, nor for kill). Several are joined with commas:
// "eintr@3,enospc@17+". A program takes its plan from the environment variable
// WUSH_IO_FAULT when it makes its first call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wush::io {

enum class FaultKind { kNoSpace, kIoError, kInterrupted, kShortWrite, kKill };

struct Fault {
  FaultKind kind = FaultKind::kIoError;
  std::uint64_t call = 1;  // number of the call, from 1
  bool onwards = false;    // also every later call
};

// Parses "enospc@17,short@20". Throws InputError that lists the kinds.
std::vector<Fault> parse_faults(const std::string& text);

// Replaces the fault plan of this process and starts counting at 1 again; an
// empty plan means no faults. Not while another thread makes calls.
void set_faults(std::vector<Fault> faults);

// Calls counted so far.
std::uint64_t call_count();

// What the plan does to one call.
struct CallFault {
  int error = 0;      // errno to fail with, or 0
  bool cut = false;   // a write takes only half of its bytes
  bool kill = false;  // the process ends with this call
};

// Counts a call and says what happens to it; for the functions of io.h.
CallFault next_call();

}  // namespace wush::io
