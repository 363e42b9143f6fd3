// Opening the files of strangers: regular files only, sizes checked before
// anything is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace wush {

// A regular file, open for reading. Opening never blocks (a FIFO is refused,
// not waited for). Bytes are read on demand and not mapped: a mapped file that
// somebody truncates would end the program with SIGBUS.
class InputFile {
 public:
  // Errors: InputError that names the path when it is missing, unreadable or
  // not a regular file.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // The path as messages show it: on one line.
  std::string name() const;
  uint64_t size() const { return size_; }  // bytes, at the time of opening

  // Fills `out` from the bytes that start at `offset`.
  // Errors: InputError when the file ends before or cannot be read.
  void read(uint64_t offset, std::span<std::byte> out) const;

  // Errors: InputError when the file was written to since it was opened.
  void check_unchanged() const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  int64_t modified_seconds_ = 0;
  int64_t modified_nanoseconds_ = 0;
};

// The whole content of a regular file of at most `max_bytes` bytes.
std::string read_input_file(const std::filesystem::path& path,
                            uint64_t max_bytes);

}  // namespace wush
