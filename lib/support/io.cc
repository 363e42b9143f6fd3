#include "lib/support/io.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <utility>

#include "lib/support/io_faults.h"

namespace wush::io {
namespace {

namespace fs = std::filesystem;

// fsync failures after which write_file_atomically gives up.
constexpr int kSyncAttempts = 3;

// Bytes a single write(2) may be asked for; Linux stops at 0x7ffff000.
constexpr std::size_t kLargestWrite = std::size_t{1} << 30;

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  while (true) ::pause();
}

[[noreturn]] void fail(const fs::path& path, const char* action, int error) {
  throw StorageError(fmt::format("{}: cannot {}: {}", path.string(), action,
                                 std::strerror(error)));
}

// One counted call, without a second try. Returns its result; on failure that
// is negative and errno is set.
template <typename Call>
int call_once(const Call& call) {
  const CallFault fault = next_call();
  if (fault.kill) die();
  if (fault.error != 0) {
    errno = fault.error;
    return -1;
  }
  return call();
}

// The same, repeated while a signal interrupts it.
template <typename Call>
int call_until_done(const Call& call) {
  int result = 0;
  do {
    result = call_once(call);
  } while (result < 0 && errno == EINTR);
  return result;
}

fs::path folder_of(const fs::path& path) {
  const fs::path folder = path.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

// A temporary file that is removed unless it has been renamed away.
class Temporary {
 public:
  explicit Temporary(const fs::path& beside)
      : path_(temporary_beside(beside)) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    // The error that brought us here matters more than this one; what stays is
    // removed when a run opens the folder next time.
    if (!renamed_) call_until_done([&] { return ::unlink(path_.c_str()); });
  }
  const fs::path& path() const { return path_; }
  void set_renamed() { renamed_ = true; }

 private:
  fs::path path_;
  bool renamed_ = false;
};

}  // namespace

File::File(const fs::path& path, int flags, unsigned mode) : path_(path) {
  descriptor_ = call_until_done(
      [&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
  if (descriptor_ < 0) fail(path, "open", errno);
}

File::~File() {
  if (descriptor_ >= 0) {
    call_once([] { return 0; });  // counted; the descriptor goes in any case
    ::close(descriptor_);
  }
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)) {}

void File::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const CallFault fault = next_call();
    std::size_t size = std::min(bytes.size(), kLargestWrite);
    if (fault.cut || fault.kill) size = (size + 1) / 2;
    ssize_t written = -1;
    if (fault.error != 0) {
      errno = fault.error;
    } else {
      written = ::write(descriptor_, bytes.data(), size);
    }
    if (fault.kill) die();
    if (written >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      fail(path_, "write", errno);
    }
  }
}

void File::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()),
                         bytes.size()));
}

void File::truncate(std::uint64_t size) {
  if (call_until_done([&] {
        return ::ftruncate(descriptor_, static_cast<off_t>(size));
      }) < 0) {
    fail(path_, "truncate", errno);
  }
}

void File::sync() {
  if (call_once([&] { return ::fsync(descriptor_); }) < 0) {
    throw SyncError(fmt::format("{}: cannot synchronise: {}", path_.string(),
                                std::strerror(errno)));
  }
}

void File::close() {
  // Linux frees the descriptor whatever close(2) returns, so it is never called
  // twice; EINTR means no more than that the wait was cut short.
  const int result = call_once([] { return 0; });
  const int injected = result < 0 ? errno : 0;
  const int error = ::close(std::exchange(descriptor_, -1)) < 0 ? errno : 0;
  for (const int code : {injected, error}) {
    if (code != 0 && code != EINTR) fail(path_, "close", code);
  }
}

bool File::try_lock() {
  if (call_until_done(
          [&] { return ::flock(descriptor_, LOCK_EX | LOCK_NB); }) == 0) {
    return true;
  }
  if (errno != EWOULDBLOCK) fail(path_, "lock", errno);
  return false;
}

void rename_replacing(const fs::path& from, const fs::path& to) {
  if (call_until_done([&] { return ::rename(from.c_str(), to.c_str()); }) < 0) {
    fail(to, "rename a temporary file to it", errno);
  }
}

bool rename_new(const fs::path& from, const fs::path& to) {
  int result = call_until_done([&] {
    return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                       RENAME_NOREPLACE);
  });
  if (result < 0 && (errno == EINVAL || errno == ENOSYS)) {
    // The filesystem has no RENAME_NOREPLACE (NFS); a hard link fails in the
    // same way when the name is taken.
    result = call_until_done([&] { return ::link(from.c_str(), to.c_str()); });
    if (result == 0) remove_file(from);
  }
  if (result == 0) return true;
  if (errno != EEXIST) fail(to, "rename a file to it", errno);
  return false;
}

void remove_file(const fs::path& path) {
  if (call_until_done([&] { return ::unlink(path.c_str()); }) < 0 &&
      errno != ENOENT) {
    fail(path, "remove", errno);
  }
}

void make_directories(const fs::path& path) {
  std::error_code ignored;
  if (path.empty() || fs::is_directory(path, ignored)) return;
  make_directories(path.parent_path());
  if (call_until_done([&] { return ::mkdir(path.c_str(), 0755); }) < 0 &&
      !(errno == EEXIST && fs::is_directory(path, ignored))) {
    fail(path, "create the folder", errno == EEXIST ? ENOTDIR : errno);
  }
  sync_directory(folder_of(path));
}

void sync_directory(const fs::path& path) {
  File folder(path, O_RDONLY | O_DIRECTORY);
  // Filesystems that keep nothing to synchronise for a folder answer EINVAL.
  if (call_until_done([&] { return ::fsync(folder.descriptor()); }) < 0 &&
      errno != EINVAL) {
    fail(path, "synchronise the folder", errno);
  }
  folder.close();
}

fs::path temporary_beside(const fs::path& path) {
  static std::random_device random;
  return path.parent_path() / fmt::format(".{}.tmp-{}-{:08x}",
                                          path.filename().string(), ::getpid(),
                                          random());
}

bool is_temporary(std::string_view file_name, std::string_view name) {
  constexpr std::string_view kMark = ".tmp-";
  const std::size_t mark = file_name.rfind(kMark);
  if (!file_name.starts_with('.') || mark == std::string_view::npos ||
      mark < 2) {
    return false;
  }
  const std::string_view tail = file_name.substr(mark + kMark.size());
  return (name.empty() || file_name.substr(1, mark - 1) == name) &&
         tail.find('-') != std::string_view::npos &&
         tail.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

bool write_file_atomically(const fs::path& path,
                           const std::function<void(File&)>& write,
                           Replace replace,
                           const std::function<void(const fs::path&)>& verify) {
  for (int attempt = 1;; ++attempt) {
    Temporary temporary(path);
    try {
      File file(temporary.path(), O_WRONLY | O_CREAT | O_EXCL);
      write(file);
      if (verify) verify(temporary.path());
      file.sync();
      file.close();
    } catch (const SyncError&) {
      if (attempt == kSyncAttempts) throw;
      continue;
    }
    if (replace == Replace::kYes) {
      rename_replacing(temporary.path(), path);
    } else if (!rename_new(temporary.path(), path)) {
      return false;
    }
    temporary.set_renamed();
    sync_directory(folder_of(path));
    return true;
  }
}

bool write_file_atomically(const fs::path& path, std::string_view bytes,
                           Replace replace) {
  return write_file_atomically(
      path, [bytes](File& file) { file.write(bytes); }, replace);
}

}  // namespace wush::io
