// A sweep of four cells that is disturbed in every way the storage contract
// names. After each disturbance a plain run has to complete the sweep, every
// cell that was reported done has to be there and unchanged, and the merged
// file has to equal the undisturbed one.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>
#include <string>

#include "lib/results/folder.h"
#include "lib/results/reader.h"
#include "lib/results/store.h"
#include "lib/support/error.h"
#include "lib/support/io.h"
#include "lib/support/io_faults.h"
#include "tests/child_process.h"
#include "tests/lib/results/sample_cells.h"
#include "tests/small_disk.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

using ::testing::AnyOf;
using testing::fast_parent;
using ::testing::HasSubstr;
using testing::ignore_report;
using ::testing::IsEmpty;
using testing::message_of;
using testing::run_sweep;
using testing::sample_cell;
using testing::sample_key;
using testing::sample_plan;
using testing::SmallDisk;
using testing::start_child;
using testing::TemporaryFolder;
using testing::wait_for_child;

constexpr int kCells = 4;
constexpr int kFaultNotReached = 97;

// The merged file of a sweep that nothing disturbed.
const fs::path& undisturbed() {
  static const TemporaryFolder folder;
  static const fs::path file = [] {
    run_sweep(folder.path(), kCells);
    return folder / "demo.h5";
  }();
  return file;
}

// Runs the sweep and notes every cell that was reported done, past the calls
// that are counted and failed.
void run_noting(const fs::path& directory, int pause_microseconds = 0) {
  const fs::path notes = directory / "acknowledged";
  const int file = ::open(notes.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ResultStore store(directory, sample_plan(kCells), {{"version", "0.1.0"}},
                    ignore_report);
  for (int index = 0; index < kCells; ++index) {
    const std::string key = sample_key(index);
    if (store.finished(key)) continue;
    store.block_checkpoint(key).save("{}", {});
    ::usleep(static_cast<useconds_t>(pause_microseconds));
    store.put(key, sample_cell(index));
    const std::string line = key + "\n";
    if (::write(file, line.data(), line.size()) < 0) std::_Exit(98);
  }
  store.merge();
}

std::set<std::string> acknowledged(const fs::path& directory) {
  std::set<std::string> keys;
  std::ifstream notes(directory / "acknowledged");
  for (std::string line; std::getline(notes, line);) keys.insert(line);
  return keys;
}

// The names of the cell files whose digest is right, by key.
std::set<fs::path> good_files(const fs::path& directory) {
  std::set<fs::path> files;
  if (!fs::exists(directory / "demo.d")) return files;
  for (const fs::path& file : cell_files(directory / "demo.d")) {
    if (!find_damage(file)) files.insert(file);
  }
  return files;
}

// Checks a disturbed folder, completes the sweep and checks the outcome.
void expect_nothing_lost(const fs::path& directory) {
  const std::set<fs::path> before = good_files(directory);
  std::set<std::string> keys;
  for (const fs::path& file : before) {
    keys.insert(parse_cell_file_name(file.filename().string())->key);
  }
  for (const std::string& key : acknowledged(directory)) {
    EXPECT_TRUE(keys.contains(key)) << "lost " << key;
  }
  std::vector<std::string> reports;
  run_sweep(directory, kCells, &reports);
  EXPECT_THAT(reports, IsEmpty());
  EXPECT_THAT(compare_results(undisturbed(), directory / "demo.h5"), IsEmpty());
  const std::set<fs::path> after = good_files(directory);
  EXPECT_EQ(after.size(), static_cast<std::size_t>(kCells));
  for (const fs::path& file : before) {
    EXPECT_TRUE(after.contains(file)) << "computed again: " << file;
  }
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    EXPECT_FALSE(io::is_temporary(entry.path().filename().string()))
        << entry.path();
  }
}

struct FaultCase {
  const char* name;
  io::FaultKind kind;
  bool onwards;
  std::set<int> statuses;  // how the disturbed run may end
};

class FaultLoopTest : public ::testing::TestWithParam<FaultCase> {};

TEST_P(FaultLoopTest, NothingIsLostWhicheverCallFails) {
  const FaultCase& fault = GetParam();
  std::map<int, int> outcomes;
  for (std::uint64_t call = 1; call < 1000; ++call) {
    const TemporaryFolder folder(fast_parent());
    const int status = wait_for_child(start_child([&] {
      io::set_faults({{fault.kind, call, fault.onwards}});
      run_noting(folder.path());
      if (io::call_count() < call) std::_Exit(kFaultNotReached);
    }));
    expect_nothing_lost(folder.path());
    if (HasFailure()) FAIL() << "at call " << call;
    if (status == kFaultNotReached) {
      for (const auto& [end, count] : outcomes) {
        fmt::print("{}: {} calls, ended with {}\n", fault.name, count, end);
      }
      EXPECT_GT(call, 80u) << "a sweep makes more calls than that";
      return;
    }
    EXPECT_TRUE(fault.statuses.contains(status))
        << "call " << call << " ended with " << status;
    ++outcomes[status];
  }
  FAIL() << "the sweep never ran to its end";
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, FaultLoopTest,
    ::testing::Values(
        FaultCase{"NoSpaceOnce", io::FaultKind::kNoSpace, false, {0, 3}},
        FaultCase{"NoSpaceFromThere", io::FaultKind::kNoSpace, true, {0, 3}},
        FaultCase{"IoErrorOnce", io::FaultKind::kIoError, false, {0, 3}},
        FaultCase{"Interrupted", io::FaultKind::kInterrupted, false, {0}},
        FaultCase{"ShortWrite", io::FaultKind::kShortWrite, false, {0}},
        FaultCase{"Killed", io::FaultKind::kKill, false, {-SIGKILL}}),
    [](const auto& test) { return test.param.name; });

TEST(RandomKills, LoseNothing) {
  // A run takes about 4 x 2 ms and the writing; the seed makes no promise,
  // since the instants depend on the machine anyway.
  std::mt19937 random(20240601);
  for (int round = 0; round < 10; ++round) {
    const TemporaryFolder folder(fast_parent());
    for (int kill = 0; kill < 5; ++kill) {
      const pid_t child = start_child([&] { run_noting(folder.path(), 2000); });
      ::usleep(static_cast<useconds_t>(random() % 20000));
      ::kill(child, SIGKILL);
      EXPECT_THAT(wait_for_child(child), AnyOf(0, -SIGKILL));
    }
    expect_nothing_lost(folder.path());
  }
}

TEST(RepeatedKills, EveryRunGetsFurther) {
  // Killed at the same call each time, a run that starts again still ends: what
  // was finished before is not done again.
  const TemporaryFolder folder(fast_parent());
  int runs = 0;
  int status = -SIGKILL;
  while (status == -SIGKILL && runs < 20) {
    status = wait_for_child(start_child([&] {
      io::set_faults({{io::FaultKind::kKill, 60, false}});
      run_noting(folder.path());
    }));
    ++runs;
  }
  EXPECT_EQ(status, 0);
  EXPECT_GT(runs, 1);
  expect_nothing_lost(folder.path());
}

// ---- Real filesystems that refuse.

TEST(FullDisk, EndsWithExitCode3AndCompletesWhenThereIsSpace) {
  const SmallDisk disk("size=64k");
  if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  const int status = wait_for_child(start_child([&] {
    const std::string message =
        message_of<StorageError>([&] { run_noting(disk.path()); });
    if (message.find(disk.path().string()) == std::string::npos ||
        message.find("No space left on device") == std::string::npos) {
      std::_Exit(1);
    }
    throw StorageError(message);
  }));
  EXPECT_EQ(status, 3);
  EXPECT_FALSE(acknowledged(disk.path()).empty()) << "some cells fit";
  disk.remount(0, "size=1m");
  expect_nothing_lost(disk.path());
}

TEST(ReadOnlyDisk, EndsWithAStorageErrorThatNamesThePath) {
  const SmallDisk disk("size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  run_sweep(disk.path(), 2);
  disk.remount(MS_RDONLY, "size=1m");
  EXPECT_THAT(message_of<StorageError>([&] { run_sweep(disk.path(), kCells); }),
              HasSubstr("Read-only file system"));
  EXPECT_THAT(read_results(disk.path() / "demo.h5").cells,
              ::testing::SizeIs(2));
  disk.remount(0, "size=1m");
}

}  // namespace
}  // namespace wush
