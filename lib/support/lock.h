// One run at a time on one results folder.
#pragma once

#include <filesystem>

#include "lib/support/io.h"

namespace wush {

// Holds `path` (created when absent) with flock until destroyed. The kernel
// drops the lock of a process that dies, so a stale file never blocks. The file
// names the holder: process id, host and start time.
class DirectoryLock {
 public:
  // Waits at most half a second. Throws LockedError that names the holder when
  // another process keeps it, StorageError when the file cannot be written.
  explicit DirectoryLock(const std::filesystem::path& path);

 private:
  io::File file_;
};

}  // namespace wush
