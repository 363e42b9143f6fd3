// Memory: predicted, kept to, and what happens when there is none.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/results/store.h"
#include "tests/experiments/program.h"
#include "tests/experiments/small_sweep.h"
#include "tests/temporary_folder.h"

// What a process takes is only predicted for builds without sanitizers.
#if defined(__SANITIZE_ADDRESS__)
#define WUSH_SKIP_UNDER_SANITIZERS() GTEST_SKIP() << "memory of sanitizers"
#else
#define WUSH_SKIP_UNDER_SANITIZERS() static_cast<void>(0)
#endif

namespace wush {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::Arguments;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::run_program;
using testing::TemporaryFolder;
using testing::write_tiny_sweep;

constexpr std::int64_t kMebibyte = 1 << 20;

Arguments command(const std::string& name, const TemporaryFolder& folder,
                  const Arguments& more = {}) {
  Arguments arguments = {name, write_tiny_sweep(folder.path()), "--results",
                         (folder / "r").string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// The number in "peak memory  123 MiB".
std::int64_t predicted_peak(const std::string& plan) {
  const std::size_t at = plan.find("peak memory");
  EXPECT_NE(at, std::string::npos) << plan;
  return std::stoll(plan.substr(at + 11)) * kMebibyte;
}

TEST(Memory, ARunThatDoesNotFitIsRefusedBeforeAnyWork) {
  const TemporaryFolder folder;
  const Outcome outcome =
      run_program(command("run", folder, {"--memory", "50M"}));
  EXPECT_EQ(outcome.code, 5) << outcome.err;
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("cell nano mxfp4"), HasSubstr("gptq"),
            HasSubstr("the 50 MiB of --memory"), HasSubstr("MiB predicted")));
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  EXPECT_FALSE(fs::exists(folder / "r"));
}

TEST(Memory, APlanShowsTheCellsThatDoNotFit) {
  const TemporaryFolder folder;
  const Outcome none = run_program(command("plan", folder, {"--memory", "8G"}));
  EXPECT_EQ(none.code, 0) << none.err;
  EXPECT_THAT(none.out, HasSubstr("0 of 9 cells do not fit in 8192 MiB"));
  const Outcome all = run_program(command("plan", folder, {"--memory", "1k"}));
  EXPECT_THAT(all.out, AllOf(HasSubstr("wush rtn"), HasSubstr("  does not fit"),
                             HasSubstr("9 of 9 cells do not fit in 0 MiB")));
  EXPECT_EQ(run_program(command("plan", folder)).out.find("fit"),
            std::string::npos);
}

TEST(Memory, WhatIsStoredNeedsNone) {
  const TemporaryFolder folder;
  const Arguments one = {"--set", "sweep.format=mxfp4", "--set",
                         "sweep.method=rtn"};
  Arguments run = command("run", folder, one);
  ASSERT_EQ(run_program(run).code, 0);
  run.insert(run.end(), {"--memory", "1048576"});
  EXPECT_EQ(run_program(run).code, 0);
}

class MemorySize : public ::testing::TestWithParam<const char*> {};

TEST_P(MemorySize, ThatIsNoneIsRefused) {
  const TemporaryFolder folder;
  const Outcome outcome =
      run_program(command("run", folder, {"--memory", GetParam()}));
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--memory"));
}

INSTANTIATE_TEST_SUITE_P(Sizes, MemorySize,
                         ::testing::Values("8Q", "-1", "1e3", "0",
                                           "99999999999999G"));

// Measured on the sweep of the demo with fewer windows; a quarter is what the
// libraries and the allocator may add or save.
TEST(Memory, ThePeakIsWhatThePlanPredicts) {
  WUSH_SKIP_UNDER_SANITIZERS();
  const TemporaryFolder folder;
  for (const char* method : {"rtn", "gptq"}) {
    const Arguments more = {"--set", "calibration.length=512",
                            "--set", "calibration.sequences=16",
                            "--set", "evaluation.length=512",
                            "--set", "evaluation.windows=16",
                            "--set", "sweep.format=mxfp4",
                            "--set", "sweep.transform=wush",
                            "--set", std::string("sweep.method=") + method};
    const auto predicted = static_cast<double>(
        predicted_peak(run_program(command("plan", folder, more)).out));
    const Outcome outcome = run_program(command("run", folder, more));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto measured = static_cast<double>(outcome.peak_memory);
    fmt::print("{}: predicted {:.0f} MiB, measured {:.0f} MiB\n", method,
               predicted / kMebibyte, measured / kMebibyte);
    EXPECT_GT(measured, 0.75 * predicted) << method;
    EXPECT_LT(measured, 1.25 * predicted) << method;
  }
}

TEST(Memory, DoesNotGrowWithTheNumberOfBlocks) {
  WUSH_SKIP_UNDER_SANITIZERS();
  const auto peak_with = [](int times) {
    const TemporaryFolder folder;
    testing::write_repeated_demo_model(folder / "model", times);
    const Outcome outcome = run_program(
        command("run", folder,
                {"--set", "models.0.path=" + (folder / "model").string(),
                 "--set", "sweep.format=mxfp4", "--set", "sweep.transform=wush",
                 "--set", "sweep.method=gptq"}));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return static_cast<double>(outcome.peak_memory);
  };
  const double once = peak_with(1);
  // One block's weights are 3.3 MB in float32; eight more would be 27 MB.
  EXPECT_LT(peak_with(3), once + 4 * kMebibyte);
}

// Every limit from one at which the program starts to one that suffices. The
// run may get as far as it gets; it never hangs, crashes or loses a cell.
TEST(Memory, WithoutMemoryTheRunEndsWithExitCode5AndFinishedCellsStay) {
  WUSH_SKIP_UNDER_SANITIZERS();
  const TemporaryFolder folder;
  // 64 MiB of logits, so that the end of a cell needs more than its start.
  const Arguments run =
      command("run", folder,
              {"--threads", "1", "--set", "sweep.format=mxfp4", "--set",
               "sweep.method=rtn", "--set", "evaluation.length=512", "--set",
               "calibration.length=512"});
  const auto stored = [&] { return stored_keys(folder / "r/tiny.d"); };
  int refused = 0;
  int refused_with_cells = 0;
  // Less does not suffice for loading the program.
  std::uint64_t mebibytes = 128;
  for (;; mebibytes += 8) {
    ASSERT_LT(mebibytes, 2048u);
    const std::vector<std::string> before = stored();
    const Outcome outcome =
        run_program(run, {{{"OPENBLAS_NUM_THREADS", "1"}},
                          mebibytes * static_cast<std::uint64_t>(kMebibyte)});
    const std::vector<std::string> after = stored();
    EXPECT_TRUE(std::includes(after.begin(), after.end(), before.begin(),
                              before.end()));
    if (outcome.code == 0) break;
    ASSERT_EQ(outcome.code, 5) << mebibytes << " MiB: " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("out of memory"));
    ++refused;
    if (!after.empty()) ++refused_with_cells;
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(stored().size(), 3u);
  fmt::print(
      "{} runs ended with 5, {} of them with finished cells, up to {} "
      "MiB of address space\n",
      refused, refused_with_cells, mebibytes);
}

}  // namespace
}  // namespace wush
