// The program in a hostile world: every call of its storage layer fails once,
// it is killed at any instant, the disk is full or read-only, inputs change
// under it, the clock jumps. Nothing finished may be lost, and a plain rerun
// has to end with the results of an undisturbed run.
//
// WUSH_LONG_TESTS=1 disturbs every call in every way and kills 200 times; the
// normal tests take a sample.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "lib/results/folder.h"
#include "lib/results/reader.h"
#include "lib/support/io.h"
#include "tests/child_process.h"
#include "tests/experiments/program.h"
#include "tests/experiments/small_sweep.h"
#include "tests/long_tests.h"
#include "tests/small_disk.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using ::testing::AllOf;
using testing::Arguments;
using testing::fast_parent;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kSmallCells;
using testing::long_tests;
using ::testing::Not;
using testing::Outcome;
using testing::run_program;
using testing::SmallDisk;
using testing::start_program;
using testing::Surroundings;
using testing::TemporaryFolder;
using testing::wait_for_child;

// The inputs of the small sweep and its undisturbed results; made once.
struct SmallSweep {
  SmallSweep() : config(testing::write_small_sweep(folder.path())) {
    // The first one reads the program from the disk.
    for (int i = 0; i < 3; ++i) {
      fs::remove_all(folder / "small.d");
      const auto start = Clock::now();
      const Outcome outcome = run(folder.path());
      EXPECT_EQ(outcome.code, 0) << outcome.err;
      seconds = std::min(
          seconds, std::chrono::duration<double>(Clock::now() - start).count());
    }
  }

  Arguments arguments(const fs::path& results) const {
    return {"run",       config,           "--results", results.string(),
            "--threads", std::to_string(1)};
  }
  Outcome run(const fs::path& results,
              const Surroundings& surroundings = {}) const {
    return run_program(arguments(results), surroundings);
  }

  TemporaryFolder folder{fast_parent()};
  std::string config;
  double seconds = 1e9;  // that an undisturbed run takes
};

const SmallSweep& sweep() {
  static const SmallSweep instance;
  return instance;
}

// Cell files whose digest is right.
std::set<fs::path> good_files(const fs::path& results) {
  std::set<fs::path> files;
  if (!fs::exists(results / "small.d")) return files;
  for (const fs::path& file : cell_files(results / "small.d")) {
    if (!find_damage(file)) files.insert(file);
  }
  return files;
}

// Waits until `condition`; fails after a minute.
template <class Condition>
void wait_until(const Condition& condition) {
  const auto late = Clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (Clock::now() > late) {
      ADD_FAILURE() << "the run did not get there";
      return;
    }
    ::usleep(500);
  }
}

// Cells that the program said were done.
std::size_t acknowledged(const std::string& err) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = err.find("cell ", at)) != std::string::npos;
       ++at) {
    if (at == 0 || err[at - 1] == '\n') ++count;
  }
  return count;
}

// Runs again what was disturbed and checks that it ends as if it had not been.
void expect_recovers(const fs::path& results) {
  const std::set<fs::path> before = good_files(results);
  const Outcome again = sweep().run(results);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err, Not(HasSubstr("quarantine")));
  EXPECT_EQ(acknowledged(again.err), kSmallCells - before.size());
  EXPECT_THAT(
      compare_results(sweep().folder / "small.h5", results / "small.h5"),
      IsEmpty());
  const std::set<fs::path> after = good_files(results);
  EXPECT_EQ(after.size(), kSmallCells);
  EXPECT_TRUE(
      std::includes(after.begin(), after.end(), before.begin(), before.end()))
      << "a finished cell was lost or computed again";
  for (const auto& entry : fs::recursive_directory_iterator(results)) {
    EXPECT_FALSE(io::is_temporary(entry.path().filename().string()))
        << entry.path();
  }
}

// ---- Every call of the storage layer

Outcome run_with_fault(const fs::path& results, const std::string& fault) {
  return sweep().run(results, {{{"WUSH_IO_FAULT", fault}}, 0});
}

// Calls that an undisturbed run makes: the last one that can be hit.
int count_calls() {
  static const int calls = [] {
    int reached = 0, beyond = 4096;
    while (beyond - reached > 1) {
      const int call = (reached + beyond) / 2;
      const TemporaryFolder folder(fast_parent());
      const int code =
          run_with_fault(folder.path(), fmt::format("kill@{}", call)).code;
      (code == -SIGKILL ? reached : beyond) = call;
    }
    return reached;
  }();
  return calls;
}

struct FaultCase {
  const char* name;
  const char* fault;  // with the number of the call for {}
  std::set<int> codes;
  int stride = 8;  // of the calls that the normal tests disturb
};

void PrintTo(const FaultCase& fault, std::ostream* out) { *out << fault.name; }

class ProgramFaults : public ::testing::TestWithParam<FaultCase> {};

TEST_P(ProgramFaults, NothingIsLostWhicheverCallFails) {
  const FaultCase& fault = GetParam();
  const int calls = count_calls();
  EXPECT_GT(calls, 50) << "a sweep of four cells makes more calls than that";
  std::map<int, int> outcomes;
  const int stride = long_tests() ? 1 : fault.stride;
  for (int call = 1; call <= calls; call += stride) {
    const TemporaryFolder folder(fast_parent());
    const Outcome outcome = run_with_fault(
        folder.path(), fmt::format(fmt::runtime(fault.fault), call));
    EXPECT_TRUE(fault.codes.contains(outcome.code))
        << outcome.code << outcome.err;
    if (outcome.code == 3) {
      EXPECT_THAT(outcome.err, HasSubstr(folder.path().string()));
    }
    EXPECT_GE(good_files(folder.path()).size(), acknowledged(outcome.err));
    ++outcomes[outcome.code];
    expect_recovers(folder.path());
    if (HasFailure()) FAIL() << "at call " << call << " of " << calls;
  }
  for (const auto& [code, count] : outcomes) {
    fmt::print("{} at {} of {} calls: ended with {}\n", fault.name, count,
               calls, code);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ProgramFaults,
    ::testing::Values(FaultCase{"NoSpaceOnce", "enospc@{}", {0, 3}},
                      FaultCase{"NoSpaceFromThere", "enospc@{}+", {0, 3}},
                      FaultCase{"IoErrorOnce", "eio@{}", {0, 3}},
                      FaultCase{"IoErrorFromThere", "eio@{}+", {0, 3}},
                      FaultCase{"Interrupted", "eintr@{}", {0}},
                      FaultCase{"ShortWrite", "short@{}", {0}},
                      FaultCase{"Killed", "kill@{}", {-SIGKILL}, 2}),
    [](const auto& test) { return test.param.name; });

// ---- Signals

TEST(ProgramSignals, KilledAtRandomInstantsNothingIsLost) {
  std::mt19937 random(200);
  // The latest instant follows the machine: kills that find everything done
  // prove little.
  double latest = sweep().seconds;
  std::map<int, int> outcomes;
  std::map<std::size_t, int> stored;
  for (int kill = 0; kill < (long_tests() ? 200 : 10); ++kill) {
    const TemporaryFolder folder(fast_parent());
    const fs::path err = folder / "err";
    const pid_t child =
        start_program(sweep().arguments(folder / "results"), err);
    std::this_thread::sleep_for(std::chrono::duration<double>(
        std::uniform_real_distribution<double>(0, latest)(random)));
    ::kill(child, SIGKILL);
    ++outcomes[wait_for_child(child)];
    const std::size_t kept = good_files(folder / "results").size();
    ++stored[kept];
    latest *= kept == kSmallCells ? 0.8 : 1.1;
    EXPECT_GE(kept, acknowledged(testing::read_text_file(err)));
    expect_recovers(folder / "results");
    if (HasFailure()) FAIL() << "at kill " << kill;
  }
  for (const auto& [code, count] : outcomes) {
    EXPECT_TRUE(code == -SIGKILL || code == 0) << code;
    fmt::print("SIGKILL: {} runs ended with {}\n", count, code);
  }
  for (const auto& [cells, count] : stored) {
    fmt::print("SIGKILL: {} runs left {} finished cells\n", count, cells);
  }
}

class ProgramSignal : public ::testing::TestWithParam<int> {};

// Whether the child has ended; it can still be waited for.
bool has_ended(pid_t child) {
  siginfo_t info = {};
  return ::waitid(P_PID, static_cast<id_t>(child), &info,
                  WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid == child;
}

// A step of this run takes a second and more; the first signal would be obeyed
// after it, with a line that says how to go on. Signals that arrive before the
// program gets to run count as one, hence more than two.
TEST_P(ProgramSignal, TheSecondOneEndsTheRunAtOnce) {
  const TemporaryFolder folder;
  const fs::path results = folder / "r", err = folder / "err";
  const pid_t child =
      start_program({"run", testing::write_tiny_sweep(folder.path()),
                     "--results", results.string(), "--threads", "1", "--set",
                     "evaluation.length=512", "--set", "evaluation.windows=60"},
                    err);
  wait_until([&] { return fs::exists(results / "tiny.d/plan.json"); });
  ::usleep(50000);
  while (!has_ended(child)) {
    ::kill(child, GetParam());
    ::usleep(10000);
  }
  EXPECT_EQ(wait_for_child(child), 128 + GetParam());
  EXPECT_THAT(testing::read_text_file(err), Not(HasSubstr("interrupted")));
}

INSTANTIATE_TEST_SUITE_P(Signals, ProgramSignal,
                         ::testing::Values(SIGINT, SIGTERM),
                         [](const auto& test) {
                           return test.param == SIGINT ? "Interrupt"
                                                       : "Terminate";
                         });

// ---- Disks

TEST(ProgramDisks, AFullOneEndsWithExitCode3AndKeepsFinishedCells) {
  int ended_with_cells = 0;
  for (int kibibytes = 8; kibibytes <= 256; kibibytes += 8) {
    const SmallDisk disk(fmt::format("size={}k", kibibytes).c_str());
    if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
    const Outcome outcome = sweep().run(disk.path());
    if (outcome.code == 0) break;
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(disk.path().string()),
                                   HasSubstr("No space left on device")));
    const std::size_t kept = good_files(disk.path()).size();
    EXPECT_EQ(kept, acknowledged(outcome.err));
    if (kept > 0) ++ended_with_cells;
    disk.remount(0, "size=4m");
    expect_recovers(disk.path());
  }
  EXPECT_GT(ended_with_cells, 1) << "disks on which some cells fit";
}

// Refuses on a disk that lets nothing be written, and goes on where it does.
void expect_refused_on(const fs::path& results) {
  const Outcome outcome = sweep().run(results);
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(results.string()));
}

TEST(ProgramDisks, AReadOnlyOneEndsWithExitCode3) {
  const SmallDisk disk("size=4m");
  if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  run_with_fault(disk.path(), "kill@40");
  EXPECT_GT(good_files(disk.path()).size(), 0u);
  disk.remount(MS_RDONLY, "size=4m");
  expect_refused_on(disk.path());
  disk.remount(0, "size=4m");
  expect_recovers(disk.path());
}

TEST(ProgramDisks, AFolderOfSomebodyElseEndsWithExitCode3) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TemporaryFolder folder(fast_parent());
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  expect_refused_on(folder.path());
  fs::permissions(folder.path(), fs::perms::owner_all);
  expect_recovers(folder.path());
}

// ---- Inputs that change under the run

// A tiny sweep over a copy of the embedded model, stopped after its first cell.
class ChangedModel : public ::testing::Test {
 protected:
  ChangedModel() {
    testing::copy_demo_model(folder_ / "model");
    arguments_ = {"run",       testing::write_tiny_sweep(folder_.path()),
                  "--results", folder_.path().string(),
                  "--threads", "1",
                  "--set",     "models.0.path=" + (folder_ / "model").string(),
                  "--set",     "sweep.format=mxfp4"};
    original_ = testing::read_text_file(weights());
    changed_ = original_;
    changed_[changed_.size() / 2] ^= 1;  // one mantissa bit of one weight
  }

  fs::path weights() const { return folder_ / "model/model.safetensors"; }
  std::size_t stored() const {
    return fs::exists(folder_ / "tiny.d")
               ? cell_files(folder_ / "tiny.d").size()
               : 0;
  }
  // Runs with `change` made after the first cell.
  Outcome run_changed(const std::function<void()>& change) const {
    const pid_t child = start_program(arguments_, folder_ / "err");
    wait_until([&] { return stored() > 0; });
    ::kill(child, SIGSTOP);
    EXPECT_LT(stored(), kCells) << "the run was stopped too late";
    change();
    ::kill(child, SIGCONT);
    Outcome outcome;
    outcome.code = wait_for_child(child);
    outcome.err = testing::read_text_file(folder_ / "err");
    return outcome;
  }
  // The results of the weights as they are now, computed elsewhere.
  void expect_as_from_scratch() const {
    const TemporaryFolder fresh;
    Arguments arguments = arguments_;
    arguments[3] = fresh.path().string();
    ASSERT_EQ(run_program(arguments).code, 0);
    EXPECT_THAT(compare_results(fresh / "tiny.h5", folder_ / "tiny.h5"),
                IsEmpty());
  }

  static constexpr std::size_t kCells = 5;
  TemporaryFolder folder_;
  Arguments arguments_;
  std::string original_, changed_;
};

TEST_F(ChangedModel, WrittenToInPlaceEndsTheRunAndNamesTheFile) {
  const Outcome outcome =
      run_changed([&] { testing::write_text_file(weights(), changed_); });
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr(weights().string()), HasSubstr("changed")));
  const std::size_t kept = stored();
  EXPECT_LT(kept, kCells);
  // With the weights back, the cells finished before are taken as they are.
  testing::write_text_file(weights(), original_);
  const Outcome again = run_program(arguments_);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(acknowledged(again.err), kCells - kept);
  expect_as_from_scratch();
}

TEST_F(ChangedModel, ReplacedByAnotherFileIsReadToTheEndAsItWas) {
  const Outcome outcome = run_changed([&] {
    testing::write_text_file(folder_ / "new", changed_);
    fs::rename(folder_ / "new", weights());
  });
  // Every cell is that of the weights its key names: the old ones.
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const Outcome next = run_program(arguments_);
  EXPECT_EQ(next.code, 0);
  EXPECT_EQ(acknowledged(next.err), kCells) << "other weights, other cells";
  EXPECT_THAT(next.err, HasSubstr("5 finished cells are not in the plan"));
  expect_as_from_scratch();
  testing::write_text_file(weights(), original_);
  EXPECT_EQ(acknowledged(run_program(arguments_).err), 0u);
  expect_as_from_scratch();
}

// ---- Numbers that overflow on their way

TEST(ProgramNumbers, AHiddenStateThatOverflowsFailsItsCellsAndIsNamed) {
  const TemporaryFolder folder(fast_parent());
  const fs::path model = folder / "model";
  testing::write_small_model(model);
  // The first weights of layer 1's down_proj, all finite.
  const fs::path shard = model / "model-00002-of-00002.safetensors";
  std::string bytes = testing::read_text_file(shard);
  const std::string large("\xff\xff\x7e\x7f", 4);  // 3.39e38
  const std::size_t end = bytes.size() - 32 * 4;   // before the last norm
  for (std::size_t i = 1; i <= 64; ++i) bytes.replace(end - 4 * i, 4, large);
  testing::write_text_file(shard, bytes);
  Arguments arguments = sweep().arguments(folder / "results");
  arguments.insert(arguments.end(),
                   {"--set", "models.0.path=" + model.string()});
  const Outcome outcome = run_program(arguments);
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("4 of 4 cells stored, 4 failed"),
                    HasSubstr("unquantized: failed: layer 1: the hidden state "
                              "is not finite at token "),
                    HasSubstr(", channel 31")));
}

// ---- Clocks

TEST(ProgramClocks, AClockThatJumpsChangesNothing) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer has to be loaded first";
#endif
  const TemporaryFolder folder(fast_parent());
  Surroundings surroundings;
  surroundings.environment["LD_PRELOAD"] = WUSH_CLOCK_JUMPS;
  surroundings.environment["WUSH_IO_FAULT"] = "kill@40";
  EXPECT_EQ(sweep().run(folder.path(), surroundings).code, -SIGKILL);
  EXPECT_GT(good_files(folder.path()).size(), 0u);
  surroundings.environment.erase("WUSH_IO_FAULT");
  const Outcome outcome = sweep().run(folder.path(), surroundings);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  expect_recovers(folder.path());
}

TEST(ProgramClocks, FilesFromTheFutureAndThePastAreTakenAsTheyAre) {
  for (const int years : {-50, 80}) {
    const TemporaryFolder folder(fast_parent());
    EXPECT_EQ(run_with_fault(folder.path(), "kill@40").code, -SIGKILL);
    const fs::path leftover =
        io::temporary_beside(folder / "small.d/plan.json");
    testing::write_text_file(leftover, "half a plan");
    const auto time = fs::file_time_type::clock::now() +
                      std::chrono::hours(24) * (365 * years);
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
      fs::last_write_time(entry.path(), time);
    }
    expect_recovers(folder.path());
  }
}

}  // namespace
}  // namespace wush
