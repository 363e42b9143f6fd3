// Every table on synthetic results: what is shown is what is stored.
#include "lib/results/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "analysis/registry.h"
#include "lib/results/reader.h"
#include "lib/support/error.h"
#include "tests/analysis/csv.h"
#include "tests/analysis/synthetic_results.h"

namespace wush {
namespace {

using ::testing::AllOf;
using testing::CsvRow;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<CsvRow> csv(const std::string& name,
                        const AnalysisRequest& request) {
  return testing::parse_csv(
      render(make_table(name, request), TableFormat::kCsv));
}

std::vector<CsvRow> of_section(const std::vector<CsvRow>& rows,
                               const std::string& section) {
  std::vector<CsvRow> found;
  for (const CsvRow& row : rows) {
    if (row.at("section") == section) found.push_back(row);
  }
  return found;
}

const StoredCell& find_cell(const Results& results, const CsvRow& row) {
  for (const StoredCell& cell : results.cells) {
    const CellParameters& parameters = cell.result.parameters;
    const bool same_transform = parameters.format == "none" ||
                                (parameters.transform == row.at("transform") &&
                                 parameters.method == row.at("method"));
    if (parameters.format == row.at("format") && same_transform) return cell;
  }
  throw std::runtime_error("no such cell");
}

class TableTest : public ::testing::Test {
 protected:
  std::filesystem::path store(const testing::SyntheticSweep& sweep = {}) {
    return testing::store_sweep(folder_.path(), sweep);
  }
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(TableTest, LayersEqualTheStoredLosses) {
  const auto file = store();
  const Results results = read_results(file);
  const auto rows = csv("layers", {{file}, "", false});
  const auto mse = of_section(rows, "mse");
  const auto ratio = of_section(rows, "ratio");
  const auto decibels = of_section(rows, "db");
  ASSERT_EQ(mse.size(), 6u);
  for (std::size_t i = 0; i < mse.size(); ++i) {
    const StoredCell& cell = find_cell(results, mse[i]);
    CsvRow identity_row = mse[i];
    identity_row["transform"] = "identity";
    const StoredCell& identity = find_cell(results, identity_row);
    for (std::size_t l = 0; l < cell.result.layer_loss.size(); ++l) {
      const LayerLoss& loss = cell.result.layer_loss[l];
      EXPECT_EQ(std::stod(mse[i].at(loss.linear)), loss.mse);
      EXPECT_EQ(std::stod(ratio[i].at(loss.linear)),
                loss.mse / identity.result.layer_loss[l].mse);
      EXPECT_EQ(std::stod(decibels[i].at(loss.linear)),
                10 * std::log10(loss.mse / loss.signal));
      // Two repeats at +-10 %: their standard error is 0.1 mse.
      EXPECT_NEAR(std::stod(mse[i].at(loss.linear + "_stderr")), 0.1 * loss.mse,
                  1e-15);
    }
  }
  EXPECT_TRUE(of_section(rows, "published_mse").empty());
}

TEST_F(TableTest, LayersMarkTheSmallestOfEachFormat) {
  const auto file = store();
  const auto document = nlohmann::json::parse(
      render(make_table("layers", {{file}, "", false}), TableFormat::kJson));
  for (const auto& row : document["rows"]) {
    double smallest = INFINITY;
    for (const auto& other : document["rows"]) {
      if (other["section"] == row["section"] &&
          other["format"] == row["format"]) {
        smallest = std::min(smallest, other["k_proj"].get<double>());
      }
    }
    const bool marked = row["best"].dump().find("k_proj") != std::string::npos;
    EXPECT_EQ(marked, row["k_proj"].get<double>() == smallest) << row;
  }
}

TEST_F(TableTest, LayersOfThePapersModelShowItsRows) {
  testing::SyntheticSweep sweep;
  sweep.model = "Qwen3-8B";
  const auto rows = csv("layers", {{store(sweep)}, "", false});
  const auto published = of_section(rows, "published_mse");
  ASSERT_EQ(published.size(), 15u);
  for (const CsvRow& row : published) {
    EXPECT_THAT(row.at("source"), HasSubstr("published: WUSH"));
  }
  // Paper, table 1: int4, wush, v_proj 2.54e-3, identity 13.2e-3.
  EXPECT_DOUBLE_EQ(std::stod(published.back().at("v_proj")), 2.54e-3);
  const auto ratio = of_section(rows, "published_ratio");
  EXPECT_NEAR(std::stod(ratio.back().at("v_proj")), 2.54 / 13.2, 1e-12);
}

TEST_F(TableTest, PerplexityEqualsTheStoredOneAndPairsWindows) {
  const auto file = store();
  const Results results = read_results(file);
  const auto rows = csv("perplexity", {{file}, "transform=hadamard", false});
  ASSERT_EQ(rows.size(), 7u);
  for (const CsvRow& row : rows) {
    const StoredCell& cell = find_cell(results, row);
    const Perplexity& own = *cell.result.perplexity;
    EXPECT_EQ(std::stod(row.at("perplexity")), own.value);
    EXPECT_EQ(std::stod(row.at("perplexity_stderr")), own.standard_error);
    if (row.at("format") == "none" || row.at("transform") == "hadamard") {
      EXPECT_EQ(row.at("nll_difference"), "") << "nothing to compare with";
      continue;
    }
    CsvRow baseline_row = row;
    baseline_row["transform"] = "hadamard";
    const Perplexity& base =
        *find_cell(results, baseline_row).result.perplexity;
    const auto n = static_cast<double>(own.window_nll.size());
    double mean = 0;
    double scaled_mean = 0;
    for (std::size_t w = 0; w < own.window_nll.size(); ++w) {
      mean += (own.window_nll[w] - base.window_nll[w]) / n;
      scaled_mean +=
          (own.value * own.window_nll[w] - base.value * base.window_nll[w]) / n;
    }
    double variance = 0;
    double scaled_variance = 0;
    for (std::size_t w = 0; w < own.window_nll.size(); ++w) {
      variance += std::pow(own.window_nll[w] - base.window_nll[w] - mean, 2);
      scaled_variance +=
          std::pow(own.value * own.window_nll[w] -
                       base.value * base.window_nll[w] - scaled_mean,
                   2);
    }
    // Sums of five values around 1: rounding stays far below 1e-12.
    EXPECT_NEAR(std::stod(row.at("nll_difference")), mean, 1e-12);
    EXPECT_NEAR(std::stod(row.at("nll_difference_stderr")),
                std::sqrt(variance / (n - 1) / n), 1e-12);
    EXPECT_NEAR(std::stod(row.at("perplexity_difference")),
                own.value - base.value, 1e-12);
    EXPECT_NEAR(std::stod(row.at("perplexity_difference_stderr")),
                std::sqrt(scaled_variance / (n - 1) / n), 1e-11);
  }
}

TEST_F(TableTest, BaselineCanBeTheUnquantizedModel) {
  const auto rows = csv("perplexity", {{store()}, "format=none", false});
  for (const CsvRow& row : rows) {
    EXPECT_EQ(row.at("perplexity_difference").empty(),
              row.at("format") == "none");
  }
}

TEST_F(TableTest, ABaselineThatIsNotThereIsNamed) {
  const Table table = make_table("kl", {{store()}, "transform=random", false});
  EXPECT_THAT(render(table, TableFormat::kMarkdown),
              HasSubstr("No differences: no other cell with transform=random"));
}

TEST_F(TableTest, BaselineMustBeAListOfParameters) {
  const auto file = store();
  for (const char* text : {"hadamard", "=x", "transform=", "a=b,c"}) {
    EXPECT_THROW(make_table("perplexity", {{file}, text, false}), InputError)
        << text;
  }
}

TEST_F(TableTest, KlEqualsTheStoredOne) {
  const auto file = store();
  const Results results = read_results(file);
  const auto rows = csv("kl", {{file}, "", false});
  ASSERT_EQ(rows.size(), 6u);
  for (const CsvRow& row : rows) {
    const Divergence& own = *find_cell(results, row).result.divergence;
    EXPECT_EQ(std::stod(row.at("kl")), own.kl);
    EXPECT_EQ(std::stod(row.at("kl_stderr")), own.kl_standard_error);
    EXPECT_EQ(std::stod(row.at("agreement")), own.agreement);
    EXPECT_EQ(row.at("kl_difference").empty(),
              row.at("transform") == "identity");
  }
  EXPECT_EQ(of_section(csv("kl", {{file}, "", true}), "published").size(), 6u);
}

TEST_F(TableTest, CostEqualsTheStoredTimes) {
  const auto file = store();
  const Results results = read_results(file);
  const auto rows = of_section(csv("cost", {{file}, "", false}), "cost");
  ASSERT_EQ(rows.size(), 7u);
  for (const CsvRow& row : rows) {
    const CellResult& cell = find_cell(results, row).result;
    EXPECT_EQ(std::stod(row.at("calibrate_seconds")),
              cell.seconds.at("calibrate"));
    EXPECT_EQ(std::stod(row.at("total_seconds")),
              cell.seconds.at("calibrate") + 0.25);
    EXPECT_EQ(std::stoll(row.at("peak_memory_bytes")), cell.peak_memory_bytes);
    EXPECT_EQ(row.at("device"), "cpu");
  }
}

TEST_F(TableTest, AccuracyWithoutOwnNumbersIsAllPublished) {
  const Table table = make_table("accuracy", {{store()}, "", false});
  ASSERT_FALSE(table.missing.empty());
  ASSERT_FALSE(table.sections.empty());
  for (const Section& section : table.sections) {
    EXPECT_EQ(section.key, "published");
    EXPECT_THAT(section.title, HasSubstr("published"));
  }
  // Paper, table 2: mxfp4, gptq-wush.
  for (const CsvRow& row : csv("accuracy", {})) {
    if (row.at("model") == "Llama-3.1-8B-Instruct" &&
        row.at("format") == "mxfp4" && row.at("transform") == "wush" &&
        row.at("method") == "gptq" && !row.at("recovery").empty()) {
      EXPECT_EQ(row.at("average"), "74.35");
      EXPECT_EQ(row.at("recovery"), "94.2");
    }
  }
}

TEST_F(TableTest, AccuracyAveragesTasksAndSeeds) {
  testing::SyntheticSweep sweep;
  sweep.sweep =
      "{format: mxfp4, transform: wush, method: rtn, seed: [1, 2, 3]}";
  sweep.fill = [](std::size_t index, CellResult& cell) {
    DataTable table;
    // Averages: 75 unquantized; 50, 55 and 60 over the seeds.
    const double shift =
        cell.parameters.format == "none"
            ? 25
            : 5.0 * (std::stod(cell.parameters.options.at("seed")) - 1);
    table.columns = {
        {"task", "", std::vector<std::string>{"one", "two"}},
        {"accuracy", "%", std::vector<double>{40 + shift, 60 + shift}}};
    cell.tables["accuracy"] = table;
    return testing::fill_all(index, cell);
  };
  const auto rows = csv("accuracy", {{store(sweep)}, "", false});
  ASSERT_EQ(rows.size(), 2u) << "seeds are one row; nothing published";
  EXPECT_EQ(rows[0].at("average"), "75");
  EXPECT_EQ(rows[1].at("one"), "45");
  EXPECT_EQ(rows[1].at("average"), "55");
  EXPECT_DOUBLE_EQ(std::stod(rows[1].at("average_seed_deviation")), 5);
  EXPECT_DOUBLE_EQ(std::stod(rows[1].at("recovery")), 100 * 55.0 / 75);
}

TEST_F(TableTest, SpeedupIsTimeOfBfloat16OverTime) {
  testing::SyntheticSweep sweep;
  sweep.sweep = "{format: mxfp4, transform: wush, method: rtn}";
  sweep.fill = [](std::size_t index, CellResult& cell) {
    if (cell.parameters.format != "none") {
      using Counts = std::vector<std::int64_t>;
      DataTable table;
      table.attributes["device"] = std::string("H100");
      table.columns = {
          {"tokens", "", Counts{1024, 1024, 1024}},
          {"outputs", "", Counts{4096, 4096, 64}},
          {"inputs", "", Counts{2048, 2048, 64}},
          {"path", "", std::vector<std::string>{"bf16", "wush", "wush"}},
          {"seconds", "s", std::vector<double>{3.0, 2.0, 1.0}}};
      cell.tables["throughput"] = table;
    }
    return testing::fill_all(index, cell);
  };
  const Table table = make_table("speedup", {{store(sweep)}, "", false});
  const auto rows = testing::parse_csv(render(table, TableFormat::kCsv));
  const auto own = of_section(rows, "speedup");
  ASSERT_EQ(own.size(), 1u);
  EXPECT_EQ(own[0].at("device"), "H100");
  EXPECT_EQ(own[0].at("outputs"), "4096");
  EXPECT_EQ(own[0].at("wush"), "1.5");
  EXPECT_EQ(own[0].at("hadamard"), "");
  EXPECT_EQ(own[0].at("baseline"), "bf16");
  EXPECT_THAT(table.notes[0], HasSubstr("no bf16 time at M = 1024, N = 64"));
  EXPECT_EQ(of_section(rows, "published").size(), 9u);
}

TEST_F(TableTest, PartialResultsShowWhatExistsAndNameTheRest) {
  testing::SyntheticSweep sweep;
  sweep.fill = [](std::size_t index, CellResult& cell) {
    if (index == 2 || index == 4) return false;
    testing::fill_all(index, cell);
    if (index == 1) cell.divergence.reset();
    return true;
  };
  const Table table = make_table("kl", {{store(sweep)}, "", false});
  EXPECT_EQ(table.row_count(), 3u);
  ASSERT_EQ(table.missing.size(), 2u);
  EXPECT_EQ(table.missing[0],
            "2 of 7 planned cells are not in synthetic.h5 (first: tiny mxfp4 "
            "hadamard rtn); run the same configuration again to compute them.");
  EXPECT_EQ(table.missing[1],
            "1 of 5 cells in synthetic.h5 have no kl; put it under `measure:` "
            "of the configuration and run it.");
}

TEST_F(TableTest, FailuresFallbacksAndDampingAreShown) {
  testing::SyntheticSweep sweep;
  sweep.fill = [](std::size_t index, CellResult& cell) {
    testing::fill_all(index, cell);
    if (index == 1) {
      cell.status = CellStatus::kFailed;
      cell.error = "overflow in q_proj";
    }
    if (index == 2) {
      cell.linears[3].attempts = 3;
      cell.linears[3].damping = 1;
      cell.linears[4].fallback = "transform block 16 instead of 128";
      cell.linears[5].dead_blocks = 2;
    }
    return true;
  };
  const auto file = store(sweep);
  for (const char* name : {"layers", "perplexity", "kl", "cost"}) {
    const std::string text =
        render(make_table(name, {{file}, "", false}), TableFormat::kMarkdown);
    EXPECT_THAT(text, AllOf(HasSubstr("tiny mxfp4 identity rtn: failed: "
                                      "overflow in q\\_proj."),
                            HasSubstr("damping raised for 1 of 7 linears "
                                      "(largest 1: layer 2 o\\_proj)"),
                            HasSubstr("transform block 16 instead of 128 for "
                                      "1 linears"),
                            HasSubstr("2 blocks without any signal")))
        << name;
  }
}

TEST_F(TableTest, SeveralFilesAreJoinedAndToldApart) {
  testing::SyntheticSweep sweep;
  const auto first = store(sweep);
  sweep.name = "more";
  sweep.calibration_sequences = 8;
  const auto second = store(sweep);
  const auto rows =
      csv("perplexity", {{first, second}, "calibration_sequences=4", false});
  // Both files hold the unquantized model, which ignores the calibration.
  ASSERT_EQ(rows.size(), 13u);
  int with_difference = 0;
  for (const CsvRow& row : rows) {
    if (row.at("format") == "none") continue;
    const bool is_second = row.at("calibration_sequences") == "8";
    EXPECT_EQ(!row.at("nll_difference").empty(), is_second);
    if (is_second) {
      ++with_difference;
      EXPECT_EQ(std::stod(row.at("nll_difference")), 0) << "the same numbers";
    }
  }
  EXPECT_EQ(with_difference, 6);
}

TEST_F(TableTest, TheSameFileTwiceIsShownOnce) {
  const auto file = store();
  const Table table = make_table("kl", {{file, file}, "", false});
  EXPECT_EQ(table.row_count(), 6u);
  EXPECT_THAT(table.notes[0], HasSubstr("shown once"));
}

std::string refusal(const std::filesystem::path& file) {
  try {
    make_table("perplexity", {{file}, "", false});
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST_F(TableTest, TruncatedFileIsRefusedInOneLine) {
  const auto file = store();
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  const std::string message = refusal(file);
  EXPECT_THAT(message, HasSubstr("synthetic.h5"));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST_F(TableTest, OtherSchemaVersionIsRefusedInOneLine) {
  const auto file = store();
  const hid_t handle = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(handle, 0);
  const hid_t attribute = H5Aopen(handle, "schema_version", H5P_DEFAULT);
  ASSERT_GE(attribute, 0);
  const std::int64_t version = 99;
  ASSERT_GE(H5Awrite(attribute, H5T_NATIVE_INT64, &version), 0);
  H5Aclose(attribute);
  H5Fclose(handle);
  const std::string message = refusal(file);
  EXPECT_THAT(message, AllOf(HasSubstr("synthetic.h5"), HasSubstr("99"),
                             Not(HasSubstr("\n"))));
}

TEST_F(TableTest, FilesThatAreNotResultsAreRefused) {
  const auto file = folder() / "text.h5";
  std::ofstream(file) << "no results\n";
  EXPECT_THAT(refusal(file), HasSubstr("text.h5"));
  EXPECT_THAT(refusal(folder() / "absent.h5"), HasSubstr("absent.h5"));
}

TEST(TableRegistryTest, UnknownNamesListTheValidOnes) {
  try {
    make_table("table1", {});
    FAIL() << "there is no table1";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "table: expected one of layers, accuracy, perplexity, kl, "
                 "cost, storage, speedup, found \"table1\"");
  }
}

TEST(TableRegistryTest, TablesOfResultsNeedResults) {
  for (const TableInfo& info : table_registry()) {
    if (info.needs_results) {
      EXPECT_THROW(make_table(info.name, {}), InputError) << info.name;
    } else {
      EXPECT_GT(make_table(info.name, {}).row_count(), 0u) << info.name;
    }
  }
}

}  // namespace
}  // namespace wush
