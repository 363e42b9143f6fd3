// Every figure in every kind, and the numbers in those that need no results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numbers>
#include <sstream>

#include "analysis/figures.h"
#include "analysis/registry.h"
#include "lib/results/table.h"
#include "lib/support/error.h"
#include "tests/analysis/synthetic_results.h"

namespace wush {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

#define WUSH_REQUIRE_GNUPLOT()                                \
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) \
  GTEST_SKIP() << "needs gnuplot (Debian, Ubuntu: gnuplot-nox)"

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Results with everything that a figure can show.
std::filesystem::path store_for_figures(const std::filesystem::path& folder) {
  testing::SyntheticSweep sweep;
  sweep.sweep =
      "{format: [mxfp4, int4], transform: [identity, wush, {kind: kbbq, "
      "lambda: [0.5, 1, 1.5]}], method: [rtn, gptq]}";
  sweep.fill = [](std::size_t index, CellResult& cell) {
    const std::vector<double> values(64, 0.5 + static_cast<double>(index));
    DataTable table;
    table.attributes = {{"layer", std::int64_t{2}},
                        {"linear", std::string("q_proj")}};
    for (const char* name :
         {"weight_rms", "weight_max", "activation_rms", "activation_max"}) {
      table.columns.push_back({name, "", values});
    }
    if (cell.parameters.format == "mxfp4") cell.tables["equalization"] = table;
    return testing::fill_all(index, cell);
  };
  return testing::store_sweep(folder, sweep);
}

class FigureTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FigureTest, IsDrawnInEveryKind) {
  WUSH_REQUIRE_GNUPLOT();
  const testing::TemporaryFolder folder;
  const AnalysisRequest request{{store_for_figures(folder.path())}, "", false};
  const auto output = [&](const char* extension) {
    return folder.path() / (GetParam() + extension);
  };
  make_figure(GetParam(), request, output(".svg"));
  make_figure(GetParam(), request, output(".png"));
  make_figure(GetParam(), request, output(".pdf"));
  const std::string svg = read_text(output(".svg"));
  EXPECT_THAT(svg, StartsWith("<?xml"));
  EXPECT_THAT(svg, HasSubstr("</svg>"));
  EXPECT_THAT(svg, HasSubstr("<text")) << "labels";
  EXPECT_THAT(svg, Not(HasSubstr("nan"))) << "no coordinate is undefined";
  EXPECT_THAT(read_text(output(".png")), StartsWith("\x89PNG"));
  EXPECT_THAT(read_text(output(".pdf")), StartsWith("%PDF"));
}

std::string figure_test_name(
    const ::testing::TestParamInfo<std::string>& name) {
  std::string text = name.param;
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

INSTANTIATE_TEST_SUITE_P(All, FigureTest,
                         ::testing::Values("toy", "speedup", "marginals",
                                           "equalization", "fp-model", "layers",
                                           "perplexity", "lambda"),
                         figure_test_name);

TEST(FigureRegistryTest, TheTestNamesEveryFigure) {
  EXPECT_EQ(figure_registry().size(), 8u);
}

TEST(FigureRegistryTest, RefusesOtherExtensions) {
  try {
    make_figure("toy", {}, "toy.jpeg");
    FAIL() << "jpeg is not a kind of figure";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "toy.jpeg: expected a name that ends in .svg, .png or .pdf, "
                 "found \".jpeg\"");
  }
}

TEST(FigureRegistryTest, SaysWhatIsMissing) {
  const testing::TemporaryFolder folder;
  testing::SyntheticSweep sweep;
  sweep.fill = [](std::size_t, CellResult&) { return true; };
  const AnalysisRequest request{
      {testing::store_sweep(folder.path(), sweep)}, "", false};
  for (const char* name : {"equalization", "layers", "perplexity", "lambda"}) {
    try {
      make_figure(name, request, folder.path() / "x.svg");
      FAIL() << name << " has nothing to draw";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("found none")) << name;
    }
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "x.svg"));
  }
}

TEST(FigureRegistryTest, NamesThePackageWhenGnuplotIsMissing) {
  const testing::TemporaryFolder folder;
  const std::string path = std::getenv("PATH");
  setenv("PATH", folder.path().c_str(), 1);
  std::string message;
  try {
    make_figure("fp-model", {}, folder.path() / "x.svg");
  } catch (const InputError& error) {
    message = error.what();
  }
  setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(message, HasSubstr("gnuplot-nox"));
}

// Figure 6: the gap is 1 - (1 + ln ln 2) / ln 2 = 0.0861 (paper: 0.086).
TEST(FigureDataTest, FpModelGap) {
  const Plot plot = make_fp_model_figure({});
  std::istringstream data(plot.data.at(0).second);
  double x = 0;
  double power = 0;
  double again = 0;
  double line = 0;
  data >> x >> power >> again >> line;
  const double log_of_two = std::log(2.0);
  EXPECT_NEAR(line - power, 1 - (1 + std::log(log_of_two)) / log_of_two, 1e-4);
  EXPECT_NEAR(power, std::exp2(x), 1e-6);
  EXPECT_THAT(plot.script, HasSubstr("largest gap 0.086"));
}

std::string block(const Plot& plot, const std::string& name) {
  for (const auto& [key, lines] : plot.data) {
    if (key == name) return lines;
  }
  throw std::runtime_error("no data " + name);
}

// Figure 4: [[0.1, 0.02], [0.02, 0.5]] rotated by 45 degrees has the variances
// 0.3 - 0.02 and 0.3 + 0.02.
TEST(FigureDataTest, MarginalsOfTheRotatedGaussian) {
  const Plot plot = make_marginals_figure({});
  const auto peaks = [&](const std::string& name) {
    std::istringstream lines(block(plot, name));
    double t = 1;
    double x = 0;
    double y = 0;
    double mean = 0;
    while (lines >> t >> x >> y >> mean) {
      if (t == 0) break;
    }
    return std::pair(x, y);
  };
  const auto density = [](double variance) {
    return 1 / std::sqrt(2 * std::numbers::pi * variance);
  };
  // Printed with six decimals.
  EXPECT_NEAR(peaks("marginal_original").first, density(0.1), 1e-6);
  EXPECT_NEAR(peaks("marginal_original").second, density(0.5), 1e-6);
  EXPECT_NEAR(peaks("marginal_rotated").first, density(0.28), 1e-6);
  EXPECT_NEAR(peaks("marginal_rotated").second, density(0.32), 1e-6);
}

// Figure 1. FP: sum_j ||T^-1 e_j||^2 (T C T^T)_jj, which is a^2 + b^2 for every
// transform but wush, and (a + b)^2 / 2 for wush.
TEST(FigureDataTest, ToyErrorsRelativeToIdentity) {
  const Plot plot = make_toy_figure({});
  std::vector<std::string> ratios;
  const std::string before = "mean squared error × ";
  for (std::size_t at = plot.script.find(before); at != std::string::npos;
       at = plot.script.find(before, at + 1)) {
    ratios.push_back(plot.script.substr(at + before.size(), 4));
  }
  ASSERT_EQ(ratios.size(), 12u) << "FP and INT in six rows";
  for (std::size_t row = 0; row < 5; ++row) EXPECT_EQ(ratios[2 * row], "1.00");
  const double wush = std::pow(1 + 0.3, 2) / 2 / (1 + 0.3 * 0.3);
  EXPECT_NEAR(std::stod(ratios[10]), wush, 0.005);
  EXPECT_EQ(ratios[1], "1.00");
  for (std::size_t row = 1; row < 5; ++row) {
    EXPECT_LT(std::stod(ratios[11]), std::stod(ratios[2 * row + 1]))
        << "wush has the smallest INT error";
  }
}

TEST(FigureDataTest, LambdaIsPairedWithWush) {
  const testing::TemporaryFolder folder;
  const Plot plot =
      make_lambda_figure({{store_for_figures(folder.path())}, "", false});
  std::size_t curves = 0;
  for (const auto& [name, lines] : plot.data) {
    ++curves;
    std::istringstream points(lines);
    double x = 0;
    double difference = 0;
    double error = 0;
    std::vector<double> lambdas;
    while (points >> x >> difference >> error) {
      lambdas.push_back(x);
      // Curves are moved aside by less than 0.03.
      const bool at_one = std::abs(x - 1) < 0.03;
      EXPECT_EQ(difference == 0 && error == 0, at_one);
    }
    EXPECT_THAT(lambdas,
                ::testing::ElementsAre(::testing::DoubleNear(0.5, 0.03),
                                       ::testing::DoubleNear(1, 0.03),
                                       ::testing::DoubleNear(1.5, 0.03)));
  }
  // Two formats with two methods, for NLL and for KL.
  EXPECT_EQ(curves, 8u);
}

}  // namespace
}  // namespace wush
