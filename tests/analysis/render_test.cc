// One table model, four renderings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "analysis/registry.h"
#include "analysis/table.h"
#include "lib/support/error.h"
#include "tests/analysis/csv.h"
#include "tests/analysis/synthetic_results.h"

namespace wush {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Table sample_table() {
  Table table{"sample", "A 100 % \"sample\" with λ_1 & co", {}, {}, {}, {}};
  table.columns = {{"name", "name", Column::Align::kLeft},
                   {"loss", "loss × 1000", Column::Align::kRight,
                    Column::Best::kLowest, true},
                   {"count", "count"}};
  Section section{"own", "Own | rows", "results", {}};
  const NumberStyle milli{NumberStyle::Kind::kSignificant, 3, 1e3};
  section.rows.push_back(
      {{"a, \"b\"", Number{0.0123456789, 0.0005, milli}, std::int64_t{7}},
       "g"});
  section.rows.push_back(
      {{"c_d", Number{0.00999999, std::nullopt, milli}, {}}, "g"});
  section.rows.push_back(
      {{"reference", Number{0.001, std::nullopt, milli}, {}}, "g", false});
  table.sections.push_back(section);
  table.notes = {"50 % of ‖x‖ ± 1"};
  table.missing = {"2 of 3 cells"};
  return table;
}

struct Printed {
  double value;
  NumberStyle style;
  const char* text;
};

class FormatNumberTest : public ::testing::TestWithParam<Printed> {};

TEST_P(FormatNumberTest, PrintsTheDigitsOfThePaper) {
  EXPECT_EQ(format_number(GetParam().value, GetParam().style), GetParam().text);
}

using Kind = NumberStyle::Kind;
INSTANTIATE_TEST_SUITE_P(
    Styles, FormatNumberTest,
    ::testing::Values(Printed{0.170, {Kind::kSignificant, 3, 1e3}, "170"},
                      Printed{0.00435, {Kind::kSignificant, 3, 1e3}, "4.35"},
                      Printed{9.996, {Kind::kSignificant, 3, 1}, "10.0"},
                      Printed{1234.5, {Kind::kSignificant, 3, 1}, "1234"},
                      Printed{0, {Kind::kSignificant, 3, 1}, "0.00"},
                      Printed{-0.01234, {Kind::kSignificant, 2, 1}, "-0.012"},
                      Printed{2.0873, {Kind::kFixed, 1, 1}, "2.1"},
                      Printed{0.5, {Kind::kFixed, 2, 100}, "50.00"}));

TEST(RenderTest, BestIgnoresReferencesAndLoneNumbers) {
  const Table table = sample_table();
  const auto marks = best_marks(table, table.sections[0]);
  EXPECT_FALSE(marks[0][1]);
  EXPECT_TRUE(marks[1][1]);
  EXPECT_FALSE(marks[2][1]) << "a reference does not compete";
  EXPECT_FALSE(marks[0][2]) << "a single count has nothing to beat";
}

TEST(RenderTest, Markdown) {
  const std::string text = render(sample_table(), TableFormat::kMarkdown);
  EXPECT_THAT(text, HasSubstr("| a, \"b\" | 12.3 ± 0.5 | 7 |"));
  EXPECT_THAT(text, HasSubstr("| c\\_d | **10.0** | – |"));
  EXPECT_THAT(text, HasSubstr("**Own \\| rows**"));
  EXPECT_THAT(text, HasSubstr("- Missing: 2 of 3 cells"));
}

TEST(RenderTest, CsvHoldsTheValuesThemselves) {
  const auto rows =
      testing::parse_csv(render(sample_table(), TableFormat::kCsv));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].at("name"), "a, \"b\"");
  EXPECT_EQ(std::stod(rows[0].at("loss")), 0.0123456789);
  EXPECT_EQ(std::stod(rows[0].at("loss_stderr")), 0.0005);
  EXPECT_EQ(rows[1].at("loss_stderr"), "");
  EXPECT_EQ(rows[0].at("count"), "7");
  EXPECT_EQ(rows[1].at("count"), "");
}

TEST(RenderTest, JsonHoldsTheValuesThemselves) {
  const auto document =
      nlohmann::json::parse(render(sample_table(), TableFormat::kJson));
  EXPECT_EQ(document["rows"][0]["loss"], 0.0123456789);
  EXPECT_EQ(document["rows"][1]["best"], nlohmann::json({"loss"}));
  EXPECT_TRUE(document["rows"][1]["count"].is_null());
  EXPECT_EQ(document["missing"][0], "2 of 3 cells");
}

TEST(RenderTest, NotFiniteIsNullInJson) {
  Table table = sample_table();
  table.sections[0].rows[0].values[1] =
      Number{std::numeric_limits<double>::infinity(), std::nullopt, {}};
  const auto document =
      nlohmann::json::parse(render(table, TableFormat::kJson));
  EXPECT_TRUE(document["rows"][0]["loss"].is_null());
}

TEST(RenderTest, LatexEscapes) {
  const std::string text = render(sample_table(), TableFormat::kLatex);
  EXPECT_THAT(text, HasSubstr("100 \\% ''sample'' with $\\lambda$\\_1 \\& co"));
  EXPECT_THAT(text, HasSubstr("12.3 $\\pm$ 0.5"));
  EXPECT_THAT(text, HasSubstr("c\\_d & \\textbf{10.0} & -- \\\\"));
}

TEST(RenderTest, LatexOfEveryTableCompiles) {
  if (std::system("command -v pdflatex >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "needs pdflatex (Debian: texlive-latex-recommended)";
  }
  const testing::TemporaryFolder folder;
  AnalysisRequest request{{testing::store_sweep(folder.path(), {})}, "", true};
  std::ofstream document(folder.path() / "tables.tex");
  document
      << "\\documentclass{article}\n"
         "\\usepackage[utf8]{inputenc}\n"
         "\\usepackage{booktabs}\\usepackage[a2paper,landscape]{geometry}\n"
         "\\begin{document}\n";
  document << render(sample_table(), TableFormat::kLatex);
  for (const TableInfo& info : table_registry()) {
    AnalysisRequest own = request;
    if (info.name == "storage") own.inputs.clear();
    document << render(info.make(own), TableFormat::kLatex) << "\\clearpage\n";
  }
  document << "\\end{document}\n";
  document.close();
  const std::string command =
      "cd " + folder.path().string() +
      " && pdflatex -halt-on-error -interaction=nonstopmode tables.tex "
      ">output.txt 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(RenderTest, UnknownFormatNamesTheValidOnes) {
  EXPECT_EQ(parse_table_format("latex"), TableFormat::kLatex);
  try {
    parse_table_format("html");
    FAIL() << "html is not a format";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "--format: expected markdown, latex, csv or json, found "
                 "\"html\"");
  }
}

}  // namespace
}  // namespace wush
