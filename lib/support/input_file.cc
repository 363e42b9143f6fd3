#include "lib/support/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/support/error.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a FIFO would otherwise wait for a writer.
  descriptor_ =
      ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (descriptor_ < 0) {
    throw InputError(name(),
                     fmt::format("expected a readable file, found \"{}\"",
                                 std::strerror(errno)));
  }
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw InputError(name(), fmt::format("expected a regular file, found {}",
                                         kind_of(status.st_mode)));
  }
  size_ = static_cast<uint64_t>(status.st_size);
  modified_seconds_ = status.st_mtim.tv_sec;
  modified_nanoseconds_ = status.st_mtim.tv_nsec;
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      modified_seconds_(other.modified_seconds_),
      modified_nanoseconds_(other.modified_nanoseconds_) {}

InputFile::~InputFile() {
  // Nothing was written, so a failing close loses nothing.
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string InputFile::name() const { return printable(path_.string(), 4096); }

void InputFile::read(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t count =
        ::pread(descriptor_, out.data() + done, out.size() - done,
                static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      throw InputError(
          name(), fmt::format("expected {} bytes at offset {}, found {} and {}",
                              out.size(), offset, done,
                              count == 0 ? "the end of the file"
                                         : std::strerror(errno)));
    }
    done += static_cast<size_t>(count);
  }
}

void InputFile::check_unchanged() const {
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (!known || static_cast<uint64_t>(status.st_size) != size_ ||
      status.st_mtim.tv_sec != modified_seconds_ ||
      status.st_mtim.tv_nsec != modified_nanoseconds_) {
    throw InputError(name(),
                     "expected the file as it was opened, found it changed");
  }
}

std::string read_input_file(const std::filesystem::path& path,
                            uint64_t max_bytes) {
  const InputFile file(path);
  if (file.size() > max_bytes) {
    throw InputError(file.name(),
                     fmt::format("expected at most {} bytes, found {}",
                                 max_bytes, file.size()));
  }
  std::string content(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(content)));
  return content;
}

}  // namespace wush
