#include "lib/support/isolate.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

#include "lib/support/end_process.h"
#include "lib/support/error.h"

namespace wush {
namespace {

// How the child ended, as its exit status; anything else is a crash.
enum Outcome : int {
  kResult = 0,
  kInputRefused = 90,
  kStorageFailed = 91,
  kNoMemory = 92
};

// Bytes of address space that this process has mapped.
std::uint64_t mapped_bytes() {
  unsigned long long pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  const int fields = file == nullptr ? 0 : std::fscanf(file, "%llu", &pages);
  if (file != nullptr) std::fclose(file);
  WUSH_CHECK(fields == 1, "/proc/self/statm cannot be read");
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void limit_child(const IsolationLimits& limits) {
  const rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const rlim_t memory = mapped_bytes() + limits.memory_bytes;
  const rlimit address_space = {memory, memory};
  ::setrlimit(RLIMIT_AS, &address_space);

  ::signal(SIGPROF, SIG_DFL);
  double whole = 0;
  const double fraction = std::modf(limits.cpu_seconds, &whole);
  itimerval timer = {};
  timer.it_value.tv_sec = static_cast<time_t>(whole);
  timer.it_value.tv_usec = static_cast<suseconds_t>(fraction * 1e6);
  ::setitimer(ITIMER_PROF, &timer, nullptr);
}

bool send(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::write(descriptor, bytes.data(), bytes.size());
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

[[noreturn]] void run_child(int descriptor, const IsolationLimits& limits,
                            const std::function<std::string()>& work) {
  // What a crashing library prints would be a second line for the user.
  const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (null >= 0) {
    ::dup2(null, STDERR_FILENO);
    ::dup2(null, STDOUT_FILENO);
  }
  Outcome outcome = kNoMemory;
  try {
    limit_child(limits);
    const std::string result = work();
    outcome = send(descriptor, result) ? kResult : kNoMemory;
  } catch (const InputError& error) {
    send(descriptor, error.what());
    outcome = kInputRefused;
  } catch (const StorageError& error) {
    send(descriptor, error.what());
    outcome = kStorageFailed;
  } catch (const std::bad_alloc&) {
    outcome = kNoMemory;
  }
  end_process(outcome);
}

std::string receive(int descriptor) {
  std::string bytes;
  std::array<char, 1 << 16> piece;
  while (true) {
    const ssize_t size = ::read(descriptor, piece.data(), piece.size());
    if (size == 0) return bytes;
    if (size > 0) {
      bytes.append(piece.data(), static_cast<std::size_t>(size));
    } else if (errno != EINTR) {
      throw StorageError(fmt::format("cannot read from a child process: {}",
                                     std::strerror(errno)));
    }
  }
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    WUSH_CHECK(errno == EINTR, "waitpid: {}", std::strerror(errno));
  }
  return status;
}

[[noreturn]] void report_crash(const std::string& where,
                               const IsolationLimits& limits, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoMemory) {
    throw InputError(where,
                     fmt::format("reading it takes more than {} MiB of memory",
                                 limits.memory_bytes >> 20));
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF) {
    throw InputError(where, fmt::format("reading it takes more than {} s",
                                        limits.cpu_seconds));
  }
  const std::string how =
      WIFSIGNALED(status) ? fmt::format("{}", ::strsignal(WTERMSIG(status)))
                          : fmt::format("exit status {}", WEXITSTATUS(status));
  throw InputError(
      where, fmt::format("malformed: reading it ends in a crash ({})", how));
}

}  // namespace

std::string run_isolated(const std::string& where,
                         const IsolationLimits& limits,
                         const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw StorageError(
        fmt::format("cannot create a pipe: {}", std::strerror(errno)));
  }
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kNoMemory);
    run_child(ends[1], limits, work);
  }
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    throw OutOfMemoryError(
        fmt::format("cannot start a child process: {}", std::strerror(errno)));
  }
  const std::string bytes = receive(ends[0]);
  ::close(ends[0]);
  const int status = wait_for(child);
  const int outcome = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (outcome == kStorageFailed) throw StorageError(bytes);
  if (outcome == kInputRefused) {
    const std::size_t colon = bytes.find(": ");
    throw InputError(bytes.substr(0, colon), bytes.substr(colon + 2));
  }
  if (outcome != kResult) report_crash(where, limits, status);
  return bytes;
}

}  // namespace wush
