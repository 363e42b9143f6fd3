#include "lib/support/lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <ctime>
#include <string>
#include <thread>

#include "lib/support/unicode.h"

namespace wush {
namespace {

// A process that was just killed may hold the lock for some milliseconds more,
// until the kernel has taken it (and its children) down.
constexpr std::chrono::milliseconds kPatience(500);
constexpr std::chrono::milliseconds kPause(10);

std::string describe_this_process() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fmt::format("process {} on {} since {:%Y-%m-%dT%H:%M:%SZ}", ::getpid(),
                     host.data(), fmt::gmtime(std::time(nullptr)));
}

std::string read_holder(int descriptor) {
  std::array<char, 512> text{};
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  if (size <= 0) return "another process";
  return printable(std::string_view(text.data(), static_cast<size_t>(size)),
                   text.size());
}

}  // namespace

DirectoryLock::DirectoryLock(const std::filesystem::path& path)
    : file_(path, O_RDWR | O_CREAT) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!file_.try_lock()) {
    if (std::chrono::steady_clock::now() >= give_up) {
      throw LockedError(fmt::format("{}: expected no other run, found {}",
                                    path.parent_path().string(),
                                    read_holder(file_.descriptor())));
    }
    std::this_thread::sleep_for(kPause);
  }
  file_.truncate(0);
  file_.write(describe_this_process());
}

}  // namespace wush
