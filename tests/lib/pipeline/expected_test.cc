// The whole path against values that an independent implementation measured on
// the nano checkpoint: float32 model, float64 quantizer and transforms.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/pipeline/session.h"
#include "lib/solver/registry.h"
#include "lib/text/corpus.h"
#include "tests/long_tests.h"
#include "tests/shared_data.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExpected = "expected/nano-technical-english.json";

class Quiet : public Progress {
 public:
  void step(const std::string&, std::int64_t, std::int64_t) override {}
  void linear(const std::string&) override {}
  void note(const std::string& line) override { notes += line + "\n"; }
  bool stop_requested() override { return false; }
  std::string notes;
};

// The nano checkpoint with the technical English texts.
struct Nano {
  explicit Nano(Measures measures, std::int64_t calibration_windows = 64,
                std::int64_t evaluation_windows = 0) {
    const fs::path data = testing::shared_dir() / "data/technical-english";
    const Tokenizer tokenizer =
        Tokenizer::load(testing::shared_dir() / "models/nano");
    const auto windows = [&](const char* file, std::int64_t count) {
      const auto tokens = tokenize_text(tokenizer, read_text(data / file),
                                        checkpoint.config().vocab_size);
      return cut_windows(tokens, 512, count, file);
    };
    session.emplace(
        *device, checkpoint,
        SessionInputs{windows("calibration.txt", calibration_windows),
                      windows("test.txt", evaluation_windows),
                      std::move(measures)},
        quiet);
  }

  Quiet quiet;
  Checkpoint checkpoint =
      Checkpoint::open(testing::shared_dir() / "models/nano");
  std::unique_ptr<Device> device = make_device("cpu", 0);
  std::optional<ModelSession> session;
};

CellSpec cell(const std::string& format, const std::string& transform,
              const std::string& method) {
  CellSpec spec;
  for (std::size_t i = 0; i < numerics::kBlockFormats.size(); ++i) {
    if (numerics::kBlockFormats[i].name == format) {
      spec.format = static_cast<numerics::Format>(i);
    }
  }
  spec.transform = {transform.substr(0, transform.find('(')), 0.75};
  spec.method = method;
  return spec;
}

nlohmann::json expected_values() {
  std::ifstream file(testing::shared_dir() / kExpected);
  return nlohmann::json::parse(file);
}

Measures layer_measure(std::vector<int> layers, std::int64_t windows) {
  Measures measures;
  measures.layer_loss =
      LayerLossMeasure{std::move(layers), windows, true, {{"random", 10}}};
  return measures;
}

TEST(Expected, LayerLossAndSignal) {
  WUSH_REQUIRE_SHARED(kExpected);
  const nlohmann::json expected = expected_values();
  Nano nano(layer_measure({expected["layer"].get<int>()}, 32), 64, 32);
  for (const auto& [format, transforms] : expected["layer_loss"].items()) {
    for (const auto& [transform, linears] : transforms.items()) {
      const CellResult result =
          nano.session->run_cell(cell(format, transform, "rtn"), nullptr, 1e9);
      ASSERT_EQ(result.status, CellStatus::kDone) << result.error;
      ASSERT_EQ(result.layer_loss.size(), 7u);
      for (const LayerLoss& loss : result.layer_loss) {
        const double wanted = linears[loss.linear].get<double>();
        const double tolerance = transform == "random" ? 0.10 : 0.02;
        EXPECT_NEAR(loss.mse / wanted, 1, tolerance)
            << format << " " << transform << " " << loss.linear;
        EXPECT_NEAR(loss.signal / expected["signal"][loss.linear].get<double>(),
                    1, 0.02);
        EXPECT_EQ(loss.repeats.size(), transform == "random" ? 10u : 1u);
      }
    }
  }
}

TEST(Expected, BaselinePerplexity) {
  WUSH_REQUIRE_SHARED(kExpected);
  Measures measures;
  measures.perplexity = true;
  Nano nano(measures);
  CellSpec spec;
  const CellResult result = nano.session->run_cell(spec, nullptr, 1e9);
  EXPECT_NEAR(result.perplexity->value /
                  expected_values()["baseline_perplexity"].get<double>(),
              1, 0.0005);
}

// What an independent, literal NumPy implementation of WUSH's algorithm 2 gives
// where the expected file cannot be reproduced by it either (24.456 and 11.433;
// NumPy and this project agree to 0.2 %). 0 elsewhere.
double literal_perplexity(const std::string& format, const std::string& method,
                          const std::string& transform) {
  if (format != "int4" || method != "gptq") return 0;
  if (transform == "identity") return 23.884;
  return transform == "hadamard" ? 11.259 : 0;
}

struct PerplexityCase {
  std::string format, method, transform;

  // Every format and transform and both methods are in the short run.
  bool in_short_run() const {
    const bool rtn = method == "rtn";
    if (format == "mxfp4") return transform == (rtn ? "identity" : "wush");
    if (format == "nvfp4") return transform == (rtn ? "wush" : "kbbq(0.75)");
    return transform == (rtn ? "hadamard" : "identity");
  }

  // The signs of the singular vectors behind wush and kbbq are free, and the
  // reference's are not known. Five random draws of them gave perplexities of
  // 12.34 .. 12.54 (mxfp4, rtn, wush), a standard deviation of 0.6 %: two
  // implementations differ by 0.9 %, and by more than 1.8 % in one of twenty.
  double tolerance() const {
    if (method == "gptq") return 0.015;
    return transform == "wush" || transform == "kbbq(0.75)" ? 0.018 : 0.005;
  }
};

void PrintTo(const PerplexityCase& c, std::ostream* out) {
  *out << c.format << " " << c.method << " " << c.transform;
}

class ExpectedPerplexity : public ::testing::TestWithParam<PerplexityCase> {};

TEST_P(ExpectedPerplexity, Reproduced) {
  WUSH_REQUIRE_SHARED(kExpected);
  const PerplexityCase& c = GetParam();
  if (!c.in_short_run()) WUSH_REQUIRE_LONG_TESTS();
  Measures measures;
  measures.perplexity = true;
  Nano nano(measures);
  const CellResult result = nano.session->run_cell(
      cell(c.format, c.transform, c.method), nullptr, 1e9);
  ASSERT_EQ(result.status, CellStatus::kDone) << result.error;
  const double literal = literal_perplexity(c.format, c.method, c.transform);
  const double wanted =
      literal > 0
          ? literal
          : expected_values()["perplexity"][c.format][c.method][c.transform]
                .get<double>();
  RecordProperty("perplexity", std::to_string(result.perplexity->value));
  EXPECT_NEAR(result.perplexity->value / wanted, 1, c.tolerance())
      << nano.quiet.notes;
}

std::vector<PerplexityCase> perplexity_cases() {
  std::vector<PerplexityCase> cases;
  for (const char* format : {"mxfp4", "nvfp4", "int4"}) {
    for (const char* method : {"rtn", "gptq"}) {
      for (const char* transform :
           {"identity", "hadamard", "wush", "kbbq(0.75)"}) {
        cases.push_back({format, method, transform});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Nano, ExpectedPerplexity,
                         ::testing::ValuesIn(perplexity_cases()),
                         [](const auto& test) {
                           return test.param.format + "_" + test.param.method +
                                  "_" +
                                  test.param.transform.substr(
                                      0, test.param.transform.find('('));
                         });

// Geometric mean over the linears of layers 1 and 2 of the held-out nvfp4 loss.
double mean_loss(ModelSession& session, const std::string& method, int block,
                 numerics::ScaleRule rule) {
  CellSpec spec = cell("nvfp4", "wush", method);
  spec.options.transform_block = block;
  spec.options.weight_scale = spec.options.activation_scale = rule;
  const CellResult result = session.run_cell(spec, nullptr, 1e9);
  EXPECT_EQ(result.status, CellStatus::kDone) << result.error;
  double logarithms = 0;
  for (const LayerLoss& loss : result.layer_loss) {
    logarithms += std::log(loss.mse);
  }
  return std::exp(logarithms / static_cast<double>(result.layer_loss.size()));
}

class Improvements : public ::testing::TestWithParam<std::string> {};

// What larger transform blocks and searched scales bring (issue: about 20 %,
// 28 %, and together 41 % with gptq and 40 % with rtn). Three points either way
// cover the signs of the singular vectors, which move a mean over 14 linears by
// about a percent.
TEST_P(Improvements, LargerBlocksAndSearchedScalesLowerTheLoss) {
  WUSH_REQUIRE_SHARED(kExpected);
  Measures measures;
  measures.layer_loss = LayerLossMeasure{{1, 2}, 16, false, {}};
  Nano nano(measures, 128, 16);
  using numerics::ScaleRule;
  const std::string& method = GetParam();
  const double base = mean_loss(*nano.session, method, 0, ScaleRule::kAbsMax);
  const auto gain = [&](int block, ScaleRule rule) {
    return 100 * (1 - mean_loss(*nano.session, method, block, rule) / base);
  };
  const double wide = gain(128, ScaleRule::kAbsMax);
  const double searched = gain(0, ScaleRule::kSearch);
  const double both = gain(128, ScaleRule::kSearch);
  std::printf("%s: K = 128 %.1f %%, searched scales %.1f %%, both %.1f %%\n",
              method.c_str(), wide, searched, both);
  EXPECT_NEAR(wide, 20, 3);
  EXPECT_NEAR(searched, 28, 3);
  EXPECT_NEAR(both, method == "gptq" ? 41 : 40, 3);
}

INSTANTIATE_TEST_SUITE_P(Nano, Improvements, ::testing::Values("rtn", "gptq"),
                         [](const auto& test) { return test.param; });

class WikiText : public ::testing::TestWithParam<std::string> {};

TEST_P(WikiText, UnquantizedPerplexity) {
  if (GetParam() == "small") WUSH_REQUIRE_LONG_TESTS();
  const std::string folder = "models/" + GetParam();
  const std::string text = "data/wikitext-2-raw/wiki.test.raw";
  WUSH_REQUIRE_SHARED(folder);
  WUSH_REQUIRE_SHARED(text);
  std::ifstream file(testing::shared_dir() / folder /
                     "reference_perplexity.json");
  const nlohmann::json reference =
      nlohmann::json::parse(file)["wikitext2_test"];
  const Checkpoint checkpoint =
      Checkpoint::open(testing::shared_dir() / folder);
  const Tokenizer tokenizer = Tokenizer::load(testing::shared_dir() / folder);
  Windows windows = cut_windows(
      tokenize_text(tokenizer, read_text(testing::shared_dir() / text),
                    checkpoint.config().vocab_size),
      512, 0, text);
  EXPECT_EQ(windows.size(), reference["windows"].get<std::size_t>());
  Quiet quiet;
  const auto device = make_device("cpu", 0);
  Measures measures;
  measures.perplexity = true;
  ModelSession session(*device, checkpoint, {{}, windows, measures}, quiet);
  const CellResult result = session.run_cell(CellSpec{}, nullptr, 1e9);
  EXPECT_NEAR(
      result.perplexity->value / reference["torch.float32"].get<double>(), 1,
      0.0005);
}

INSTANTIATE_TEST_SUITE_P(HuggingFace, WikiText,
                         ::testing::Values("nano", "small"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace wush
