#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "lib/results/reader.h"
#include "lib/results/store.h"
#include "tests/lib/results/sample_cells.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::sample_cell;
using testing::sample_key;
using ::testing::SizeIs;
using testing::TemporaryFolder;

std::vector<StoredCell> sample_cells(int count) {
  std::vector<StoredCell> cells;
  for (int i = 0; i < count; ++i) {
    cells.push_back({sample_key(i), sample_cell(i), {}});
  }
  return cells;
}

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> list;
  for (std::string line; std::getline(stream, line);) list.push_back(line);
  return list;
}

TEST(CellsToJson, HasTheKeysOfTheContract) {
  const auto json = nlohmann::json::parse(cells_to_json(sample_cells(4)));
  ASSERT_THAT(json, SizeIs(4));
  const auto& cell = json[1];
  EXPECT_EQ(cell["key"], sample_key(1));
  EXPECT_EQ(cell["model"], "nano");
  EXPECT_EQ(cell["format"], "mxfp4");
  EXPECT_EQ(cell["transform"], "kbbq");
  EXPECT_EQ(cell["method"], "gptq");
  EXPECT_EQ(cell["status"], "done");
  EXPECT_FALSE(cell.contains("error"));
  EXPECT_EQ(cell["options"], (nlohmann::json{{"damping", "0.01"},
                                             {"lambda", "1.75"},
                                             {"moments", "marginal"}}));
  EXPECT_EQ(cell["metrics"],
            (nlohmann::json{{"perplexity", sample_cell(1).perplexity->value},
                            {"perplexity_stderr", 0.11},
                            {"kl", 0.35},
                            {"kl_stderr", 0.05},
                            {"agreement", 0.725}}));
  EXPECT_EQ(cell["layer_loss"][0], (nlohmann::json{{"layer", 0},
                                                   {"linear", "q_proj"},
                                                   {"mse", 0.0185 / 2},
                                                   {"signal", 2.37}}));
  ASSERT_THAT(cell["layer_loss"], SizeIs(6));
  EXPECT_EQ(cell["linears"][5], (nlohmann::json{{"layer", 1},
                                                {"linear", "down_proj"},
                                                {"damping", 0.01},
                                                {"attempts", 3},
                                                {"dead_blocks", 2},
                                                {"fallback", "rtn"},
                                                {"weight_error", 0.012}}));
}

TEST(CellsToJson, ShowsFailuresAndOtherKinds) {
  const auto json = nlohmann::json::parse(cells_to_json(sample_cells(4)));
  EXPECT_EQ(json[0]["metrics"].size(), 2u);
  EXPECT_THAT(json[0]["layer_loss"], IsEmpty());
  EXPECT_EQ(json[2]["status"], "failed");
  EXPECT_EQ(json[2]["error"], sample_cell(2).error);
  EXPECT_THAT(json[2]["metrics"], IsEmpty());
  EXPECT_EQ(json[3]["tables"]["throughput"]["rate"],
            (nlohmann::json{1234.5, 56.25}));
  EXPECT_EQ(json[3]["tables"]["throughput"]["device"], "cpu");
  EXPECT_THAT(json[3]["layer_loss"][0]["repeats"], SizeIs(3));
  EXPECT_TRUE(json[3]["layer_loss"][0]["repeats"][1].is_null()) << "NaN";
}

TEST(CellsToJson, OfNothingIsAnEmptyArray) {
  EXPECT_EQ(cells_to_json({}), "[]\n");
}

TEST(CellsToCsv, HasOneRowACellAndExactNumbers) {
  std::vector<StoredCell> cells = sample_cells(3);
  cells[2].result.error = "a \"quoted\", long\nerror";
  const std::string csv = cells_to_csv(cells);
  const std::vector<std::string> rows = lines(csv);
  ASSERT_THAT(rows, SizeIs(5)) << "the error has a line break";
  EXPECT_THAT(rows[0],
              HasSubstr("key,model,format,transform,method,damping,lambda,"
                        "moments,status,error,fallbacks,perplexity,"
                        "perplexity_stderr,kl,kl_stderr,agreement,"
                        "mse 0.q_proj,signal 0.q_proj"));
  EXPECT_THAT(rows[1], HasSubstr(sample_key(0) +
                                 ",nano,none,identity,none,0.01,,marginal,"
                                 "done,,0,"));
  EXPECT_THAT(rows[2], HasSubstr("0.35,0.05,0.725,0.00925,2.37,"));
  EXPECT_THAT(csv, HasSubstr("\"a \"\"quoted\"\", long\nerror\""));
}

TEST(CellsToMarkdown, ShowsWhatDiffersAndEveryFallback) {
  const std::string text = cells_to_markdown(sample_cells(4));
  const std::vector<std::string> rows = lines(text);
  ASSERT_THAT(rows, SizeIs(6));
  EXPECT_THAT(rows[0], HasSubstr("| model | format | transform | method | "
                                 "lambda | perplexity |"));
  EXPECT_THAT(rows[0], Not(HasSubstr("damping"))) << "the same in all cells";
  EXPECT_THAT(rows[0], HasSubstr("fallbacks"));
  EXPECT_THAT(rows[3], HasSubstr("| 0.35 ± 0.05 | 0.7250 | 6 | 1 |"));
  EXPECT_THAT(rows[4], HasSubstr("block 3 of the hessian is not finite"));
}

TEST(CompareResults, NamesEveryDifferenceButTimes) {
  const TemporaryFolder folder;
  const auto run = [&](const char* name, const auto& change) {
    CellResult cell = sample_cell(3);
    change(cell);
    ResultStore store(folder / name, testing::sample_plan(4), {{"host", name}},
                      testing::ignore_report);
    store.put(sample_key(3), cell);
    store.merge();
    return store.merged_file();
  };
  const auto original = run("a", [](CellResult&) {});
  EXPECT_THAT(compare_results(original, run("b",
                                            [](CellResult& cell) {
                                              cell.seconds["more"] = 3;
                                              cell.peak_memory_bytes = 1;
                                            })),
              IsEmpty());
  const std::string key = sample_key(3);
  EXPECT_THAT(
      compare_results(original, run("c",
                                    [](CellResult& cell) {
                                      cell.perplexity->window_nll[3] += 1;
                                      cell.perplexity->length = 513;
                                      cell.tables.erase("empty");
                                    })),
      ElementsAre(key + ": empty: only in the first",
                  key + ": perplexity: attribute length: 512 and 513",
                  HasSubstr(key + ": perplexity/window_nll: row 3: 2.8")));
  EXPECT_THAT(compare_results(original, run("d",
                                            [](CellResult& cell) {
                                              cell.divergence->window_kl[0] = 1;
                                              cell.layer_loss[1].repeats[0] =
                                                  0.0;
                                              cell.error = "x";
                                            })),
              ElementsAre(key + ": attribute error:  and x",
                          key + ": kl/window_kl: row 0: 0.3 and 1",
                          // Minus zero equals zero, but not bit for bit.
                          key + ": layer_loss_repeats/mse: row 3: -0 and 0"));
}

TEST(CompareResults, NamesWhatOnlyOneHas) {
  const TemporaryFolder folder;
  const auto run = [&](const char* name, int planned, const CellResult& cell) {
    ResultStore store(folder / name, testing::sample_plan(planned), {},
                      testing::ignore_report);
    store.put(sample_key(0), cell);
    if (planned == 2) store.put(sample_key(1), sample_cell(1));
    store.merge();
    return store.merged_file();
  };
  CellResult first = sample_cell(0);
  CellResult second = sample_cell(0);
  first.parameters.options["only_a"] = "1";
  second.parameters.options["only_b"] = "1";
  first.tables["t"].columns = {{"x", "s", std::vector<double>{1}}};
  second.tables["t"].columns = {{"x", "ms", std::vector<double>{1}}};
  first.tables["t"].attributes = {{"n", std::int64_t{1}}};
  second.tables["t"].attributes = {{"n", 1.0}};
  second.tables["u"].columns = {{"x", "", std::vector<std::string>{"a", "b"}}};
  second.perplexity->window_nll.pop_back();
  const auto a = run("a", 1, first);
  const std::string key = sample_key(0);
  EXPECT_THAT(compare_results(a, run("b", 1, second)),
              ElementsAre(key + ": attribute only_a only in the first",
                          key + ": attribute only_b only in the second",
                          key + ": perplexity/window_nll: 8 and 7 rows",
                          key + ": t: attribute n: 1 and 1",
                          key + ": t: column 0: another name, unit or type",
                          key + ": u: only in the second"));
  EXPECT_THAT(compare_results(a, run("c", 2, first)),
              ElementsAre("1 and 2 cells",
                          "cell 0: keys " + key + " and " + sample_key(1)));
}

}  // namespace
}  // namespace wush
