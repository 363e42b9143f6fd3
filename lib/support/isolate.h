// Work on files of strangers in a child process, for libraries that may crash,
// loop or allocate without bound on a malformed file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace wush {

struct IsolationLimits {
  std::uint64_t memory_bytes = 0;  // beyond what this process has mapped
  double cpu_seconds = 0;          // user and system time
};

// Runs `work` in a forked child and returns the bytes that it returns. Errors
// of the child arrive here as the same type with the same text: InputError,
// StorageError. A child that crashes, exceeds its limits or runs out of memory
// is an InputError at `where`. The child shares nothing with this process but
// what it inherits, prints nothing and ends when this process does.
std::string run_isolated(const std::string& where,
                         const IsolationLimits& limits,
                         const std::function<std::string()>& work);

}  // namespace wush
