#include "lib/results/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include "lib/results/hdf5_file.h"
#include "lib/results/reader.h"
#include "lib/results/record.h"
#include "lib/support/digest.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "tests/child_process.h"
#include "tests/lib/results/sample_cells.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ignore_report;
using ::testing::IsEmpty;
using testing::message_of;
using testing::run_in_child;
using testing::run_sweep;
using testing::sample_cell;
using testing::sample_key;
using testing::sample_plan;
using ::testing::SizeIs;
using testing::TemporaryFolder;

constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 30;

std::string bits(const CellResult& cell) {
  return pack_record(to_record(cell, {}));
}

// The files of a folder, sorted; those with the extension when one is given.
std::vector<fs::path> files_of(const fs::path& folder,
                               const std::string& extension = "") {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().ends_with(extension)) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

void flip_bit(const fs::path& path, std::uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

TEST(CellKey, DependsOnEverythingAndOnNothingElse) {
  const CellParameters parameters = sample_cell(1).parameters;
  const std::map<std::string, std::string> inputs = {{"text", "12"}};
  std::set<std::string> keys = {cell_key(parameters, inputs)};
  EXPECT_EQ(cell_key(parameters, inputs), *keys.begin());
  EXPECT_THAT(*keys.begin(), ::testing::MatchesRegex("[0-9a-f]{32}"));
  CellParameters other = parameters;
  const auto add = [&] {
    EXPECT_TRUE(keys.insert(cell_key(other, inputs)).second);
    other = parameters;
  };
  other.model = "small";
  add();
  other.format = "nvfp4";
  add();
  other.transform = "wush";
  add();
  other.method = "rtn";
  add();
  other.options["damping"] = "0.1";
  add();
  other.options["new"] = "";
  add();
  EXPECT_TRUE(keys.insert(cell_key(parameters, {{"text", "13"}})).second);
  EXPECT_TRUE(keys.insert(cell_key(parameters, {})).second);
  // Moving text from one field to the next makes another key.
  other.model = parameters.model + parameters.format;
  other.format = "";
  add();
}

TEST(CellKey, IsTheDigestOfCanonicalJson) {
  const CellParameters parameters = {
      "m", "f", "t", "r", {{"b", "2"}, {"a", "1"}}};
  EXPECT_EQ(cell_key(parameters, {{"x", "y"}}),
            sha256_hex(R"({"format":"f","inputs":{"x":"y"},"method":"r",)"
                       R"("model":"m","options":{"a":"1","b":"2"},)"
                       R"("transform":"t"})")
                .substr(0, 32));
}

class SampleCellTest : public ::testing::TestWithParam<int> {};

TEST_P(SampleCellTest, ComesBackBitForBit) {
  const TemporaryFolder folder;
  const std::string key = sample_key(GetParam());
  const CellResult cell = sample_cell(GetParam());
  {
    ResultStore store(folder.path(), sample_plan(4), {}, ignore_report);
    EXPECT_FALSE(store.finished(key));
    EXPECT_FALSE(store.get(key).has_value());
    store.put(key, cell);
    EXPECT_TRUE(store.finished(key));
    EXPECT_EQ(bits(store.get(key).value()), bits(cell));
  }
  const ResultStore again(folder.path(), sample_plan(4), {}, ignore_report);
  EXPECT_EQ(bits(again.get(key).value()), bits(cell));
}

TEST_P(SampleCellTest, HasTheSameBytesEveryTime) {
  const Record record = to_record(sample_cell(GetParam()), {{"a", "b"}});
  const std::string image = hdf5::cell_image(sample_key(GetParam()), record);
  ::usleep(1'100'000 / 4);  // four cells: together they see the second change
  EXPECT_EQ(hdf5::cell_image(sample_key(GetParam()), record), image);
}

TEST(MergedImage, HasTheSameBytesEveryTime) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 4);
  std::vector<hdf5::CellFile> cells;
  for (const fs::path& file : files_of(folder / "demo.d", ".h5")) {
    cells.push_back({file.filename().string().substr(0, 32), file});
  }
  const auto merge = [&] {
    return hdf5::merged_image("name: demo\n", {{"a", "b"}}, cells);
  };
  const std::string image = merge();
  EXPECT_EQ(merge(), image);
  std::ofstream(folder / "merged.h5", std::ios::binary) << image;
  EXPECT_THAT(read_results(folder / "merged.h5").cells, SizeIs(4));
  // A file that holds another cell than its name says.
  std::swap(cells[0].path, cells[1].path);
  EXPECT_THAT(message_of<InputError>(merge),
              HasSubstr("expected the one cell"));
}

INSTANTIATE_TEST_SUITE_P(All, SampleCellTest, ::testing::Range(0, 4));

TEST(ResultStore, ListsCellsInPlanOrder) {
  const TemporaryFolder folder;
  const Plan plan = sample_plan(4);
  ResultStore store(folder.path(), plan, {}, ignore_report);
  EXPECT_EQ(store.missing_keys(), plan.keys);
  for (const int index : {1, 3})
    store.put(sample_key(index), sample_cell(index));
  EXPECT_THAT(store.finished_keys(), ElementsAre(sample_key(3), sample_key(1)));
  EXPECT_THAT(store.missing_keys(), ElementsAre(sample_key(2), sample_key(0)));
}

TEST(ResultStore, MergesInPlanOrderWithConfigurationAndProvenance) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 4);
  const Results results = read_results(folder / "demo.h5");
  EXPECT_EQ(results.config, sample_plan(4).config);
  EXPECT_EQ(results.provenance.at("version"), "0.1.0");
  EXPECT_TRUE(results.provenance.contains("merged"));
  ASSERT_THAT(results.cells, SizeIs(4));
  for (int i = 0; i < 4; ++i) {
    const StoredCell& cell = results.cells[static_cast<std::size_t>(i)];
    EXPECT_EQ(cell.key, sample_key(3 - i));
    EXPECT_EQ(bits(cell.result), bits(sample_cell(3 - i)));
    EXPECT_EQ(cell.provenance.at("version"), "0.1.0");
    EXPECT_TRUE(cell.provenance.contains("finished"));
  }
}

TEST(ResultStore, FolderReadsLikeTheMergedFile) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 4);
  EXPECT_THAT(compare_results(folder / "demo.d", folder / "demo.h5"),
              IsEmpty());
}

TEST(ResultStore, OrderOfTheRunDoesNotShow) {
  const TemporaryFolder folder;
  run_sweep(folder / "a", 4);
  for (const int index : {2, 0, 3, 1}) {
    ResultStore store(folder / "b", sample_plan(4), {}, ignore_report);
    store.put(sample_key(index), sample_cell(index));
    store.merge();
  }
  EXPECT_THAT(compare_results(folder / "a/demo.h5", folder / "b/demo.h5"),
              IsEmpty());
}

TEST(ResultStore, ManyCellsMergeInPlanOrder) {
  const TemporaryFolder folder;
  // More links than a group keeps in its header.
  run_sweep(folder.path(), 40);
  const Results results = read_results(folder / "demo.h5");
  ASSERT_THAT(results.cells, SizeIs(40));
  const Plan plan = sample_plan(40);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(results.cells[i].key, plan.keys[i]);
  }
}

TEST(ResultStore, SecondRunIsToldWhoHoldsTheFolder) {
  const TemporaryFolder folder;
  const ResultStore store(folder.path(), sample_plan(4), {}, ignore_report);
  EXPECT_EQ(run_in_child([&] {
              ResultStore(folder.path(), sample_plan(4), {}, ignore_report);
            }),
            4);
}

TEST(ResultStore, RunKilledWithTheLockDoesNotBlock) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_in_child([&] {
              ResultStore store(folder.path(), sample_plan(4), {},
                                ignore_report);
              store.put(sample_key(0), sample_cell(0));
              ::raise(SIGKILL);
            }),
            -SIGKILL);
  const ResultStore store(folder.path(), sample_plan(4), {}, ignore_report);
  EXPECT_THAT(store.finished_keys(), ElementsAre(sample_key(0)));
}

TEST(ResultStore, CleansUpAfterDeadRuns) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 1);
  const std::string cell = files_of(folder / "demo.d", ".h5")[0].filename();
  const std::vector<fs::path> own = {
      folder / "demo.d" / ("." + cell + ".tmp-12-00ab"),
      folder / "demo.d" / ".plan.json.tmp-99999-ffffffff",
      folder / ".demo.h5.tmp-1-2",
      folder / "demo.d" / (sample_key(0) + ".partial")};
  const std::vector<fs::path> others = {
      folder / "demo.d" / "notes.txt", folder / ".other.h5.tmp-1-2",
      folder / "demo.d" / (sample_key(1) + ".partial")};
  for (const auto& path : own) std::ofstream(path) << "x";
  for (const auto& path : others) std::ofstream(path) << "x";
  const ResultStore store(folder.path(), sample_plan(2), {}, ignore_report);
  for (const auto& path : own) EXPECT_FALSE(fs::exists(path)) << path;
  for (const auto& path : others) EXPECT_TRUE(fs::exists(path)) << path;
}

// Flips a bit at places spread over the whole file: superblock, headers, data,
// the last byte.
TEST(ResultStore, FlippedBitsGoToQuarantineAndAreComputedAgain) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 4);
  const fs::path undisturbed = folder / "undisturbed.h5";
  fs::copy_file(folder / "demo.h5", undisturbed);
  const std::uint64_t size =
      fs::file_size(files_of(folder / "demo.d", ".h5")[0]);
  std::size_t expected_in_quarantine = 0;
  for (int step = 0; step <= 24; ++step) {
    const std::uint64_t offset =
        std::min<std::uint64_t>(size - 1, size * step / 24);
    const fs::path victim = files_of(folder / "demo.d", ".h5")[0];
    flip_bit(victim, offset);
    const std::string damaged = read_input_file(victim, kNoLimit);
    std::vector<std::string> reports;
    run_sweep(folder.path(), 4, &reports);
    ASSERT_THAT(reports, SizeIs(1)) << "offset " << offset;
    EXPECT_THAT(reports[0], HasSubstr(victim.string()));
    const auto kept = files_of(folder / "demo.d/quarantine");
    ASSERT_THAT(kept, SizeIs(++expected_in_quarantine));
    EXPECT_TRUE(std::any_of(kept.begin(), kept.end(), [&](const auto& file) {
      return read_input_file(file, kNoLimit) == damaged;
    }));
    EXPECT_THAT(compare_results(undisturbed, folder / "demo.h5"), IsEmpty());
  }
}

TEST(ResultStore, TruncatedAndEmptyCellsGoToQuarantine) {
  const TemporaryFolder folder;
  for (const std::uint64_t size : {0u, 1u, 100u, 2048u}) {
    run_sweep(folder.path(), 4);
    fs::resize_file(files_of(folder / "demo.d", ".h5")[1], size);
    std::vector<std::string> reports;
    run_sweep(folder.path(), 4, &reports);
    EXPECT_THAT(reports, SizeIs(1));
  }
}

TEST(ResultStore, SecondFileForACellIsReported) {
  const TemporaryFolder folder;
  run_sweep(folder / "a", 1);
  {
    ResultStore store(folder / "b", sample_plan(1), {{"version", "2"}},
                      ignore_report);
    store.put(sample_key(0), sample_cell(0));
  }
  const fs::path other = files_of(folder / "b/demo.d", ".h5")[0];
  fs::copy_file(other, folder / "a/demo.d" / other.filename());
  std::vector<std::string> reports;
  run_sweep(folder / "a", 1, &reports);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_THAT(reports[0], HasSubstr("expected one file for a cell"));
  EXPECT_THAT(files_of(folder / "a/demo.d", ".h5"), SizeIs(1));
}

TEST(ResultStore, ChangedPlanKeepsTheCellsItShares) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 4);
  std::vector<std::string> reports;
  {
    const ResultStore store(
        folder.path(), sample_plan(2), {},
        [&](const std::string& line) { reports.push_back(line); });
    EXPECT_THAT(store.missing_keys(), IsEmpty());
    store.merge();
  }
  ASSERT_THAT(reports, SizeIs(2));
  EXPECT_THAT(reports[0], HasSubstr("the plan has changed"));
  EXPECT_THAT(reports[1], HasSubstr("2 finished cells are not in the plan"));
  EXPECT_THAT(read_results(folder / "demo.h5").cells, SizeIs(2));
  EXPECT_THAT(stored_keys(folder / "demo.d"), SizeIs(4));
}

TEST(ResultStore, DamagedPlanIsReplaced) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 1);
  const std::string plan =
      read_input_file(folder / "demo.d/plan.json", kNoLimit);
  for (const std::uint64_t offset : {0u, 30u, 90u, 200u}) {
    flip_bit(folder / "demo.d/plan.json", offset);
    std::vector<std::string> reports;
    run_sweep(folder.path(), 1, &reports);
    ASSERT_THAT(reports, SizeIs(1)) << offset;
    EXPECT_THAT(reports[0], HasSubstr("quarantine")) << offset;
    EXPECT_EQ(read_input_file(folder / "demo.d/plan.json", kNoLimit), plan);
  }
}

TEST(ResultStore, RefusesAFolderOfAnotherSchemaVersion) {
  const TemporaryFolder folder;
  run_sweep(folder.path(), 1);
  std::string plan = read_input_file(folder / "demo.d/plan.json", kNoLimit);
  const std::string version = "\"schema_version\": 1";
  plan.replace(plan.find(version), version.size(), "\"schema_version\": 2");
  std::ofstream(folder / "demo.d/plan.json") << plan;
  EXPECT_THAT(message_of<InputError>([&] { run_sweep(folder.path(), 1); }),
              HasSubstr("expected schema version 1, found 2"));
  EXPECT_EQ(read_input_file(folder / "demo.d/plan.json", kNoLimit), plan);
}

TEST(ResultStore, RefusesNamesThatAreNoFileNames) {
  const TemporaryFolder folder;
  for (const char* name : {"", "a/b", "../x"}) {
    Plan plan = sample_plan(1);
    plan.name = name;
    EXPECT_THROW(ResultStore(folder.path(), plan, {}, ignore_report),
                 InputError);
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(ResultStore, StorageErrorWhereNoFolderCanBe) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  EXPECT_THAT(message_of<StorageError>([&] { run_sweep(folder / "file", 1); }),
              HasSubstr((folder / "file").string()));
}

TEST(ResultStore, RefusesTextThatHdf5CannotKeep) {
  const TemporaryFolder folder;
  ResultStore store(folder.path(), sample_plan(4), {}, ignore_report);
  const auto refuses = [&](const auto& change, const char* message) {
    CellResult cell = sample_cell(3);
    change(cell);
    EXPECT_THAT(
        message_of<StorageError>([&] { store.put(sample_key(3), cell); }),
        HasSubstr(message));
    EXPECT_FALSE(store.finished(sample_key(3)));
  };
  refuses([](auto& c) { c.error = std::string("a\0b", 3); }, "without NUL");
  refuses([](auto& c) { c.error = "\xff"; }, "UTF-8");
  refuses([](auto& c) { c.error = std::string(70000, 'x'); }, "60000");
  refuses([](auto& c) { c.parameters.options["status"] = "x"; }, "option");
  refuses([](auto& c) { c.tables["linears"] = {}; }, "name of a table");
  refuses([](auto& c) { c.tables["a/b"] = {}; }, "is no name");
  refuses(
      [](auto& c) {
        c.tables["t"].columns = {{"a", "", std::vector<double>{1}},
                                 {"b", "", std::vector<double>{1, 2}}};
      },
      "differ in length");
  refuses(
      [](auto& c) {
        c.tables["t"].columns = {{"a", "", std::vector<double>{1}},
                                 {"a", "", std::vector<double>{1}}};
      },
      "two columns");
  EXPECT_THAT(files_of(folder / "demo.d", ".h5"), IsEmpty());
}

// ---- Joining folders.

class MergeTest : public ::testing::Test {
 protected:
  // A machine that computed the cells with these numbers.
  fs::path machine(const std::string& name, const std::vector<int>& cells,
                   double kl_shift = 0) {
    ResultStore store(folder_ / name, sample_plan(4), {{"host", name}},
                      ignore_report);
    for (const int index : cells) {
      CellResult cell = sample_cell(index);
      if (cell.divergence) cell.divergence->kl += kl_shift;
      store.put(sample_key(index), cell);
    }
    return store.folder();
  }
  MergeCount merge(const std::vector<fs::path>& folders) {
    return merge_folders(folders, folder_ / "all.h5", {},
                         [&](const auto& line) { reports_.push_back(line); });
  }

  TemporaryFolder folder_;
  std::vector<std::string> reports_;
};

TEST_F(MergeTest, JoinsWhatSeveralMachinesComputed) {
  run_sweep(folder_ / "one", 4);
  const MergeCount count =
      merge({machine("a", {0, 2}), machine("b", {1}), machine("c", {3, 2})});
  EXPECT_EQ(count.written, 4u);
  EXPECT_EQ(count.planned, 4u);
  EXPECT_THAT(reports_, IsEmpty());
  EXPECT_THAT(compare_results(folder_ / "one/demo.h5", folder_ / "all.h5"),
              IsEmpty());
}

TEST_F(MergeTest, CountsWhatIsMissing) {
  const MergeCount count = merge({machine("a", {0}), machine("b", {3})});
  EXPECT_EQ(count.written, 2u);
  EXPECT_EQ(count.planned, 4u);
}

TEST_F(MergeTest, RefusesTwoResultsForOneCell) {
  const auto folders = {machine("a", {1}), machine("b", {1}, 1e-9)};
  EXPECT_THAT(message_of<InputError>([&] { merge(folders); }),
              HasSubstr("expected the numbers of"));
  EXPECT_FALSE(fs::exists(folder_ / "all.h5"));
}

TEST_F(MergeTest, LeavesDamagedFilesOutAndSaysSo) {
  const fs::path a = machine("a", {0, 1});
  flip_bit(files_of(a, ".h5")[0], 900);
  EXPECT_EQ(merge({a, machine("b", {3})}).written, 2u);
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_THAT(reports_[0], HasSubstr("left out"));
  EXPECT_THAT(files_of(a, ".h5"), SizeIs(2)) << "folders are only read";
}

TEST_F(MergeTest, ReportsAnotherConfiguration) {
  Plan plan = sample_plan(2);
  plan.config = "name: other\n";
  { const ResultStore store(folder_ / "b", plan, {}, ignore_report); }
  merge({machine("a", {0}), folder_ / "b/demo.d"});
  ASSERT_THAT(reports_, SizeIs(1));
  EXPECT_THAT(reports_[0], HasSubstr("configuration differs"));
}

TEST_F(MergeTest, RefusesAFolderWithoutPlan) {
  fs::create_directory(folder_ / "empty.d");
  EXPECT_THROW(merge({folder_ / "empty.d"}), InputError);
}

// A file whose name has the right digest may still be no cell.
TEST_F(MergeTest, RefusesAForgedCell) {
  const fs::path a = machine("a", {0});
  const std::string bytes = "\x89HDF\r\n\x1a\n and then something else";
  const std::string name = sample_key(1) + "-" + sha256_hex(bytes) + ".h5";
  std::ofstream(a / name, std::ios::binary) << bytes;
  EXPECT_THAT(message_of<InputError>([&] { merge({a}); }), HasSubstr(name));
}

}  // namespace
}  // namespace wush
