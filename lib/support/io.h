// The one place through which files are created, written, synchronised, renamed
// and removed, so that a test can fail or cut any of these calls
// (lib/support/io_faults.h). Interrupted calls and short writes are continued;
// every other failure is a StorageError with the path and the reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "lib/support/error.h"

namespace wush::io {

// fsync failed: the file has to be abandoned and written again under a new
// name.
class SyncError : public StorageError {
 public:
  using StorageError::StorageError;
};

// A file descriptor opened for writing (or for a lock or a folder).
class File {
 public:
  // open(2) with O_CLOEXEC added; `mode` as for open.
  File(const std::filesystem::path& path, int flags, unsigned mode = 0644);
  // Closes without looking at the result: only for files that are abandoned.
  // Whoever wants the content to last calls sync() and close().
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;

  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }

  void write(std::string_view bytes);
  void write(std::span<const std::byte> bytes);
  void truncate(std::uint64_t size);
  // fsync(2), once: after a failure the kernel may have dropped the data, so a
  // second call would prove nothing. Throws SyncError, also when interrupted.
  void sync();
  void close();
  // flock(2), exclusive, not blocking. False when another process holds it.
  bool try_lock();

 private:
  int descriptor_;
  std::filesystem::path path_;
};

// rename(2), replacing what is there.
void rename_replacing(const std::filesystem::path& from,
                      const std::filesystem::path& to);

// Renames only when `to` does not exist; false when it does. Atomic
// (RENAME_NOREPLACE, or link and unlink where a filesystem lacks it).
bool rename_new(const std::filesystem::path& from,
                const std::filesystem::path& to);

// Removes a file; one that is not there is fine.
void remove_file(const std::filesystem::path& path);

// Creates a folder and its parents, and makes the new entries last.
void make_directories(const std::filesystem::path& path);

// fsync of a folder: makes renames inside it last.
void sync_directory(const std::filesystem::path& path);

// A name beside `path` for a temporary file, never used before:
// ".<name>.tmp-<pid>-<random>".
std::filesystem::path temporary_beside(const std::filesystem::path& path);

// Whether a file name was made by temporary_beside for a file called `name`
// (for any file when `name` is empty).
bool is_temporary(std::string_view file_name, std::string_view name = {});

enum class Replace { kYes, kNo };

// Writes a temporary beside `path` through `write`, calls `verify` (when given)
// with the temporary's path, synchronises and closes it, renames it to `path`
// and synchronises the folder. When fsync fails the temporary is abandoned and
// written again under a new name, at most three times. On an error the
// temporary is removed; `path` then holds what it held before, or the whole new
// content when only the folder could not be synchronised. With Replace::kNo,
// false when `path` exists (the temporary is removed).
bool write_file_atomically(
    const std::filesystem::path& path, const std::function<void(File&)>& write,
    Replace replace = Replace::kYes,
    const std::function<void(const std::filesystem::path&)>& verify = {});
bool write_file_atomically(const std::filesystem::path& path,
                           std::string_view bytes,
                           Replace replace = Replace::kYes);

}  // namespace wush::io
