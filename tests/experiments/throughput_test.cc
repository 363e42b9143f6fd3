// The throughput experiment from the command line to the table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "lib/results/reader.h"
#include "tests/experiments/program.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using ::testing::AllOf;
using testing::Arguments;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::Outcome;
using testing::run_program;
using testing::TemporaryFolder;
using testing::write_text_file;

std::string write_file(const TemporaryFolder& folder) {
  const std::string path = (folder / "speed.yaml").string();
  write_text_file(path,
                  "name: speed\n"
                  "sweep: {format: [mxfp4, nvfp4]}\n"
                  "measure: {throughput: {tokens: [1, 5], shapes: [{outputs: "
                  "48, inputs: 64}], repeats: 3, warmup: 1}}\n");
  return path;
}

Arguments arguments(const TemporaryFolder& folder, const std::string& command,
                    const std::string& results,
                    const std::string& device = "cpu") {
  return {command,     write_file(folder),          "--device",  device,
          "--results", (folder / results).string(), "--threads", "1"};
}

TEST(Throughput, RunsResumesMergesAndShows) {
  const TemporaryFolder folder;
  const Outcome planned = run_program(arguments(folder, "plan", "a"));
  EXPECT_EQ(planned.code, 0) << planned.err;
  EXPECT_THAT(planned.out, AllOf(HasSubstr("shapes unquantized"),
                                 HasSubstr("3 of 3 cells are missing")));
  const Outcome first = run_program(arguments(folder, "run", "a"));
  ASSERT_EQ(first.code, 0) << first.err;
  const std::string file = (folder / "a/speed.h5").string();
  const Results results = read_results(file);
  ASSERT_EQ(results.cells.size(), 3u);
  const DataTable& baseline = results.cells[0].result.tables.at("throughput");
  EXPECT_EQ(baseline.rows(), 2u);
  const DataTable& mxfp4 = results.cells[1].result.tables.at("throughput");
  EXPECT_EQ(mxfp4.rows(), 8u);
  EXPECT_EQ(mxfp4.find("seconds")->unit, "s");

  const Outcome again = run_program(arguments(folder, "run", "a"));
  EXPECT_THAT(again.err, Not(HasSubstr("cell 1/"))) << "nothing is missing";

  // A second machine of the same kind takes other times for the same cells.
  ASSERT_EQ(run_program(arguments(folder, "run", "b")).code, 0);
  EXPECT_THAT(compare_results(file, folder / "b/speed.h5"), IsEmpty());
  const Outcome merged = run_program({"merge", (folder / "a/speed.d").string(),
                                      (folder / "b/speed.d").string(), "-o",
                                      (folder / "all.h5").string()});
  EXPECT_EQ(merged.code, 0) << merged.err;

  const Outcome table =
      run_program({"table", "speedup", file, "--format", "csv"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("shapes,mxfp4"), HasSubstr("float32"),
                               HasSubstr(",5,48,64,")));
  const Outcome notes = run_program({"table", "speedup", file});
  EXPECT_THAT(notes.out, HasSubstr("buffers that fit into the cache"))
      << "shapes this small never leave it";
}

TEST(Throughput, ADeviceThatIsNotThereIsExitCode6) {
  const TemporaryFolder folder;
  for (const std::string command : {"run", "plan"}) {
    const Outcome outcome =
        run_program(arguments(folder, command, "r", "cuda:99"));
    EXPECT_EQ(outcome.code, 6);
    EXPECT_THAT(outcome.err, HasSubstr("cuda:99"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "r"));
}

}  // namespace
}  // namespace wush
