// A sweep from start to end: resumed, killed, shared out, on any number of
// threads, it gives the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "lib/results/reader.h"
#include "lib/results/store.h"
#include "tests/child_process.h"
#include "tests/experiments/program.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::Arguments;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Outcome;
using testing::run_program;
using testing::start_program;
using testing::TemporaryFolder;
using testing::wait_for_child;
using testing::write_tiny_sweep;

constexpr std::size_t kCells = 9;

Arguments run_arguments(const TemporaryFolder& folder,
                        const Arguments& more = {}, int threads = 1) {
  Arguments arguments = {"run",       write_tiny_sweep(folder.path()),
                         "--results", folder.path().string(),
                         "--threads", std::to_string(threads)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// The results of a run that nothing disturbed; made once.
const fs::path& undisturbed() {
  static const TemporaryFolder folder;
  static const Outcome outcome = run_program(run_arguments(folder));
  static const fs::path file = folder / "tiny.h5";
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return file;
}

// Names of the stored cells; a name holds the digest of what it stores.
std::set<std::string> stored_files(const TemporaryFolder& folder) {
  std::set<std::string> names;
  if (!fs::exists(folder / "tiny.d")) return names;
  for (const auto& entry : fs::directory_iterator(folder / "tiny.d")) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".h5" && name.front() != '.') {
      names.insert(name);
    }
  }
  return names;
}

TEST(Sweep, MeasuresEveryCell) {
  const Results results = read_results(undisturbed());
  ASSERT_EQ(results.cells.size(), kCells);
  const CellResult& unquantized = results.cells[0].result;
  EXPECT_EQ(unquantized.parameters.format, "none");
  ASSERT_TRUE(unquantized.perplexity.has_value());
  for (std::size_t i = 1; i < kCells; ++i) {
    const CellResult& cell = results.cells[i].result;
    EXPECT_EQ(cell.status, CellStatus::kDone);
    EXPECT_EQ(cell.layer_loss.size(), 7u);
    ASSERT_TRUE(cell.perplexity.has_value());
    EXPECT_EQ(cell.perplexity->window_nll.size(), 4u);
    EXPECT_GT(cell.perplexity->value, unquantized.perplexity->value);
    ASSERT_TRUE(cell.divergence.has_value());
    EXPECT_GT(cell.divergence->kl, 0);
    EXPECT_EQ(cell.parameters.options.at("damping"), "0.01");
  }
  EXPECT_THAT(results.config, HasSubstr("damping: 0.01\n"));
  for (const std::string name :
       {"program", "compiler", "device description", "sha256 checkpoint nano",
        "sha256 calibration", "sha256 evaluation", "started"}) {
    EXPECT_TRUE(results.provenance.contains(name)) << name;
  }
}

TEST(Sweep, ASecondRunComputesNothing) {
  const TemporaryFolder folder;
  ASSERT_EQ(run_program(run_arguments(folder)).code, 0);
  const std::set<std::string> before = stored_files(folder);
  EXPECT_EQ(before.size(), kCells);
  const Outcome again = run_program(run_arguments(folder));
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.err, ::testing::Not(HasSubstr("cell 1/")));
  EXPECT_THAT(again.out, HasSubstr("9 of 9 cells stored, 0 failed"));
  EXPECT_EQ(stored_files(folder), before);
  EXPECT_THAT(run_program({"plan", (folder / "tiny.yaml").string(), "--results",
                           folder.path().string()})
                  .out,
              HasSubstr("0 of 9 cells are missing"));
}

TEST(Sweep, ThreadsAndVerbosityDoNotChangeABit) {
  const TemporaryFolder folder;
  const Outcome two = run_program(run_arguments(folder, {"--verbose"}, 2));
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_THAT(two.err, AllOf(HasSubstr("quantize 4/4"), HasSubstr("cell 9/9")));
  EXPECT_THAT(compare_results(undisturbed(), folder / "tiny.h5"), IsEmpty());
}

TEST(Sweep, SharesOnSeveralMachinesMergeToTheSame) {
  const TemporaryFolder first, second;
  const Outcome one = run_program(run_arguments(first, {"--task", "1/2"}));
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("5 of 9 cells stored"));
  ASSERT_EQ(run_program(run_arguments(second, {"--task", "2/2"})).code, 0);
  const Outcome merged = run_program({"merge", (first / "tiny.d").string(),
                                      (second / "tiny.d").string(), "-o",
                                      (first / "merged.h5").string()});
  EXPECT_EQ(merged.code, 0) << merged.err;
  EXPECT_THAT(merged.out, HasSubstr("9 of 9 cells"));
  EXPECT_THAT(compare_results(undisturbed(), first / "merged.h5"), IsEmpty());
}

TEST(Sweep, ExtendingASweepKeepsItsCells) {
  const TemporaryFolder folder;
  ASSERT_EQ(
      run_program(run_arguments(folder, {"--set", "sweep.format=mxfp4"})).code,
      0);
  const std::set<std::string> before = stored_files(folder);
  EXPECT_EQ(before.size(), 5u);
  ASSERT_EQ(run_program(run_arguments(folder)).code, 0);
  const std::set<std::string> after = stored_files(folder);
  EXPECT_TRUE(
      std::includes(after.begin(), after.end(), before.begin(), before.end()));
  EXPECT_THAT(compare_results(undisturbed(), folder / "tiny.h5"), IsEmpty());
}

// 128 tokens leave the covariance of 256 channels singular; without damping its
// factorization fails.
Arguments singular(const std::string& fallback) {
  return {"--set", "sweep.transform=hadamard",
          "--set", "sweep.format=mxfp4",
          "--set", "options.damping=0",
          "--set", "options.solver_fallback=" + fallback};
}

TEST(Sweep, AFailedCellIsStoredAndReported) {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(run_arguments(folder, singular("error")));
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("nano mxfp4 hadamard gptq: failed: "),
                    HasSubstr("3 of 3 cells stored, 1 failed")));
  const Results results = read_results(folder / "tiny.h5");
  ASSERT_EQ(results.cells.size(), 3u);
  EXPECT_EQ(results.cells[1].result.status, CellStatus::kDone);
  EXPECT_EQ(results.cells[2].result.status, CellStatus::kFailed);
  EXPECT_THAT(results.cells[2].result.error, HasSubstr("layer 1, q_proj"));
  EXPECT_FALSE(results.cells[2].result.perplexity.has_value());
}

TEST(Sweep, AFallbackIsOnlyTakenWhenAskedForAndReported) {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(run_arguments(folder, singular("rtn")));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              HasSubstr("nano mxfp4 hadamard gptq: fallback for "));
  EXPECT_THAT(outcome.err, HasSubstr("q_proj"));  // as it happened
}

TEST(Sweep, InterruptedItEndsWithTheSignalAndGoesOn) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const TemporaryFolder folder;
    const pid_t child = start_program(run_arguments(folder));
    while (stored_files(folder).empty()) ::usleep(1000);
    ::kill(child, signal);
    EXPECT_EQ(wait_for_child(child), 128 + signal);
    const std::set<std::string> before = stored_files(folder);
    EXPECT_LT(before.size(), kCells);
    ASSERT_EQ(run_program(run_arguments(folder)).code, 0);
    const std::set<std::string> after = stored_files(folder);
    EXPECT_TRUE(std::includes(after.begin(), after.end(), before.begin(),
                              before.end()));
    EXPECT_THAT(compare_results(undisturbed(), folder / "tiny.h5"), IsEmpty());
  }
}

TEST(Sweep, KilledTwentyTimesNothingIsLostOrRecomputed) {
  undisturbed();
  // From the start of the program to the first stored cells; measured, so that
  // the kills fall into the sweep on a machine of any speed.
  const auto start = std::chrono::steady_clock::now();
  {
    const TemporaryFolder folder;
    ASSERT_EQ(run_program(run_arguments(folder)).code, 0);
  }
  const std::chrono::duration<double> whole =
      std::chrono::steady_clock::now() - start;

  const TemporaryFolder folder;
  std::mt19937 random(20);
  std::uniform_real_distribution<double> share(0, 0.25);
  std::set<std::string> before;
  int killed_in_work = 0;
  for (int i = 0; i < 20; ++i) {
    const pid_t child = start_program(run_arguments(folder));
    std::this_thread::sleep_for(whole * share(random));
    ::kill(child, SIGKILL);
    if (wait_for_child(child) == -SIGKILL) ++killed_in_work;
    const std::set<std::string> after = stored_files(folder);
    EXPECT_TRUE(
        std::includes(after.begin(), after.end(), before.begin(), before.end()))
        << "after kill " << i;
    before = after;
  }
  EXPECT_GT(killed_in_work, 0);
  ASSERT_EQ(run_program(run_arguments(folder)).code, 0);
  const std::set<std::string> after = stored_files(folder);
  EXPECT_TRUE(
      std::includes(after.begin(), after.end(), before.begin(), before.end()));
  EXPECT_EQ(after.size(), kCells);
  EXPECT_THAT(compare_results(undisturbed(), folder / "tiny.h5"), IsEmpty());
}

TEST(Sweep, CellsAndTablesShowTheResults) {
  const std::string file = undisturbed().string();
  const Outcome json = run_program({"cells", file, "--format", "json"});
  EXPECT_EQ(json.code, 0) << json.err;
  EXPECT_THAT(json.out, AllOf(HasSubstr("\"perplexity_stderr\""),
                              HasSubstr("\"q_proj\""), HasSubstr("\"wush\"")));
  EXPECT_THAT(run_program({"cells", file, "--format", "csv"}).out,
              HasSubstr("nvfp4"));
  for (const std::string table : {"layers", "perplexity", "kl"}) {
    const Outcome outcome = run_program({"table", table, file});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("wush")) << table;
  }
}

}  // namespace
}  // namespace wush
