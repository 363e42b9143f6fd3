// The lock, the signals and the isolated child.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "lib/support/error.h"
#include "lib/support/interrupt.h"
#include "lib/support/isolate.h"
#include "lib/support/lock.h"
#include "tests/child_process.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using testing::run_in_child;
using testing::start_child;
using testing::TemporaryFolder;
using testing::wait_for_child;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A pipe with which one process tells another that it got somewhere.
class Signal {
 public:
  Signal() { EXPECT_EQ(::pipe(ends_), 0); }
  ~Signal() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void send() const { EXPECT_EQ(::write(ends_[1], "x", 1), 1); }
  void wait() const {
    char byte = 0;
    EXPECT_EQ(::read(ends_[0], &byte, 1), 1);
  }

 private:
  int ends_[2];
};

TEST(DirectoryLock, ExcludesAnotherProcessAndNamesTheHolder) {
  const TemporaryFolder folder;
  const DirectoryLock lock(folder / "LOCK");
  const Clock::time_point start = Clock::now();
  const int status = run_in_child([&] {
    const std::string message =
        message_of<LockedError>([&] { DirectoryLock(folder / "LOCK"); });
    const std::string holder =
        "process " + std::to_string(::getppid()) + " on ";
    if (message.find(holder) == std::string::npos ||
        message.find(folder.path().string()) == std::string::npos) {
      std::_Exit(1);
    }
    throw LockedError(message);
  });
  EXPECT_EQ(status, 4);
  EXPECT_LT(seconds_since(start), 1.0);
}

TEST(DirectoryLock, IsFreeAgainWhenReleased) {
  const TemporaryFolder folder;
  { const DirectoryLock lock(folder / "LOCK"); }
  EXPECT_EQ(run_in_child([&] { DirectoryLock(folder / "LOCK"); }), 0);
}

TEST(DirectoryLock, OfADeadProcessDoesNotBlock) {
  const TemporaryFolder folder;
  const Signal locked;
  const pid_t child = start_child([&] {
    const DirectoryLock lock(folder / "LOCK");
    locked.send();
    while (true) ::pause();
  });
  locked.wait();
  EXPECT_THROW(DirectoryLock(folder / "LOCK"), LockedError);
  ::kill(child, SIGKILL);
  EXPECT_EQ(wait_for_child(child), -SIGKILL);
  const DirectoryLock lock(folder / "LOCK");
}

TEST(DirectoryLock, WaitsForAProcessThatIsAboutToEnd) {
  const TemporaryFolder folder;
  const Signal locked;
  const pid_t child = start_child([&] {
    const DirectoryLock lock(folder / "LOCK");
    locked.send();
    ::usleep(100'000);
  });
  locked.wait();
  const DirectoryLock lock(folder / "LOCK");
  EXPECT_EQ(wait_for_child(child), 0);
}

TEST(Interrupt, FirstSignalIsAFlagTheSecondEndsTheProcess) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const int status = run_in_child([&] {
      install_interrupt_handlers();
      if (interrupted() || interrupt_signal() != 0) std::_Exit(1);
      ::raise(signal);
      if (!interrupted() || interrupt_signal() != signal) std::_Exit(2);
      ::raise(signal);
      std::_Exit(3);
    });
    EXPECT_EQ(status, 128 + signal);
  }
}

TEST(Interrupt, TheFirstSignalIsTheOneReported) {
  const int status = run_in_child([] {
    install_interrupt_handlers();
    ::raise(SIGTERM);
    std::_Exit(interrupt_signal());
  });
  EXPECT_EQ(status, SIGTERM);
}

// ---- Isolation.

constexpr IsolationLimits kLimits = {.memory_bytes = 64 << 20,
                                     .cpu_seconds = 0.2};

TEST(RunIsolated, ReturnsWhatTheChildReturns) {
  std::string expected;
  for (int i = 0; i < 100'000; ++i) expected += std::to_string(i);
  EXPECT_EQ(run_isolated("file", kLimits, [&] { return expected; }), expected);
  EXPECT_EQ(run_isolated("file", kLimits, [] { return std::string(); }), "");
}

TEST(RunIsolated, PassesErrorsOn) {
  EXPECT_EQ(message_of<InputError>([] {
              run_isolated("file", kLimits, []() -> std::string {
                throw InputError("a: b#/c", "expected 1, found 2");
              });
            }),
            "a: b#/c: expected 1, found 2");
  EXPECT_EQ(message_of<StorageError>([] {
              run_isolated("file", kLimits, []() -> std::string {
                throw StorageError("disk: full");
              });
            }),
            "disk: full");
}

std::string run_off() {
  volatile std::uint64_t counter = 0;
  while (true) counter = counter + 1;
}

struct CrashCase {
  const char* name;
  std::string (*work)();
  const char* message;
};

class RunIsolatedCrash : public ::testing::TestWithParam<CrashCase> {};

TEST_P(RunIsolatedCrash, IsAnInputErrorWithinTwoSeconds) {
  const Clock::time_point start = Clock::now();
  const std::string message = message_of<InputError>(
      [] { run_isolated("some/file.h5", kLimits, GetParam().work); });
  EXPECT_THAT(message,
              AllOf(HasSubstr("some/file.h5: "), HasSubstr(GetParam().message),
                    ::testing::Not(HasSubstr("\n"))));
  EXPECT_LT(seconds_since(start), 2.0);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RunIsolatedCrash,
    ::testing::Values(CrashCase{"Killed",
                                []() -> std::string {
                                  ::raise(SIGKILL);
                                  return "";
                                },
                                "crash (Killed)"},
                      CrashCase{"Exits", []() -> std::string { std::_Exit(7); },
                                "exit status 7"},
                      CrashCase{"RunsForEver", run_off, "more than 0.2 s"},
                      CrashCase{"Throws",
                                []() -> std::string { throw std::bad_alloc(); },
                                "more than 64 MiB"}),
    [](const auto& test) { return test.param.name; });

TEST(RunIsolated, LimitsMemory) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer ends the child by itself";
#endif
  const std::string message = message_of<InputError>([] {
    run_isolated("file", kLimits,
                 [] { return std::string(std::size_t{256} << 20, 'x'); });
  });
  EXPECT_THAT(message, HasSubstr("more than 64 MiB of memory"));
}

}  // namespace
}  // namespace wush
