// Experiment files: what is accepted, with defaults, and what is refused.
#include "lib/experiment/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "lib/experiment/yaml_document.h"
#include "lib/support/error.h"

namespace wush {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A valid file; tests change one line each. Line numbers are its own.
const std::vector<std::string>& valid_lines() {
  static const std::vector<std::string> lines = {
      "name: demo",                                                 // 1
      "seed: 3",                                                    // 2
      "models:",                                                    // 3
      "  - {name: nano, path: model}",                              // 4
      "calibration: {text: a.txt, sequences: 64, length: 512}",     // 5
      "evaluation: {text: b.txt, length: 256, windows: all}",       // 6
      "sweep:",                                                     // 7
      "  format: [mxfp4, nvfp4]",                                   // 8
      "  transform: [identity, wush, {kind: kbbq, lambda: 0.75}]",  // 9
      "  method: [rtn, gptq]",                                      // 10
      "exclude: [{transform: identity, method: gptq}]",             // 11
      "measure:",                                                   // 12
      "  layer_loss: {layers: [0, 2], repeats: {random: 10}}",      // 13
      "  perplexity: {}",                                           // 14
      "options: {damping: 0.02, fuse: true}",                       // 15
  };
  return lines;
}

class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(info->test_suite_name()) + info->name();
    std::replace(name.begin(), name.end(), '/', '-');
    folder_ = fs::path(::testing::TempDir()) / ("wush-config-" + name);
    fs::create_directories(folder_ / "model");
    std::ofstream(folder_ / "a.txt") << "calibration";
    std::ofstream(folder_ / "b.txt") << "evaluation";
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& text) {
    const std::string path = (folder_ / "x.yaml").string();
    std::ofstream(path) << text;
    return path;
  }

  // The valid file with one line replaced (0: none); "" removes the line's
  // text.
  std::string write_lines(std::size_t line, const std::string& replacement) {
    std::string text;
    for (std::size_t i = 0; i < valid_lines().size(); ++i) {
      text += (i + 1 == line ? replacement : valid_lines()[i]) + "\n";
    }
    return write(text);
  }

  std::string error_of(const std::string& path,
                       const std::vector<std::string>& overrides = {}) {
    try {
      load_experiment(path, overrides);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  }

  fs::path folder_;
};

TEST_F(ConfigTest, ReadsEveryPart) {
  const ExperimentConfig config = load_experiment(write_lines(0, ""));
  EXPECT_EQ(config.name, "demo");
  EXPECT_EQ(config.seed, 3u);
  ASSERT_EQ(config.models.size(), 1u);
  EXPECT_EQ(config.models[0].name, "nano");
  EXPECT_EQ(config.models[0].path.written, "model");
  EXPECT_EQ(config.models[0].path.resolved, (folder_ / "model").string());
  ASSERT_TRUE(config.calibration.has_value());
  EXPECT_EQ(config.calibration->sequences, 64);
  EXPECT_EQ(config.calibration->length, 512);
  EXPECT_EQ(config.evaluation.spec().path, (folder_ / "b.txt").string());
  EXPECT_EQ(config.evaluation.spec().sequences, 0);
  EXPECT_EQ(config.evaluation.spec().length, 256);
  ASSERT_EQ(config.axes.size(), 3u);
  EXPECT_EQ(config.axes[1].values[2].kind, "kbbq");
  EXPECT_EQ(config.axes[1].values[2].parameters.at("lambda"), "0.75");
  ASSERT_TRUE(config.measures.layer_loss.has_value());
  EXPECT_EQ(config.measures.layer_loss->layers, (std::vector<int>{0, 2}));
  EXPECT_EQ(config.measures.layer_loss->windows, 32);
  EXPECT_TRUE(config.measures.layer_loss->evaluation_moments);
  EXPECT_EQ(config.measures.layer_loss->repeats.at("random"), 10);
  EXPECT_TRUE(config.measures.perplexity);
  EXPECT_FALSE(config.measures.kl);
  EXPECT_EQ(config.options.at("damping"), "0.02");
  EXPECT_EQ(config.options.at("fuse"), "true");
  EXPECT_EQ(config.options.at("moments"), "marginal");
  EXPECT_EQ(config.options.at("seed"), "3");
  EXPECT_EQ(config.layers_place.to_string(), config.file + ":13:24");
}

TEST_F(ConfigTest, ResolvedTextReadsAsTheSameAndHoldsTheDefaults) {
  const ExperimentConfig config = load_experiment(write_lines(0, ""));
  const std::string resolved = resolved_yaml(config);
  EXPECT_THAT(resolved, HasSubstr("transform_block: group\n"));
  EXPECT_THAT(resolved, HasSubstr("windows: 32\n"));
  EXPECT_THAT(resolved, HasSubstr("{kind: kbbq, lambda: 0.75}"));
  EXPECT_EQ(resolved_yaml(load_experiment(write(resolved))), resolved);
}

TEST_F(ConfigTest, OnlyTheUnquantizedModelNeedsNoCalibration) {
  const std::string path = write(
      "name: base\nmodels: [{name: m, path: model}]\n"
      "evaluation: {text: b.txt, length: 16}\nmeasure: {perplexity: {}}\n");
  const ExperimentConfig config = load_experiment(path);
  EXPECT_TRUE(config.axes.empty());
  EXPECT_FALSE(config.calibration.has_value());
  EXPECT_EQ(resolved_yaml(load_experiment(write(resolved_yaml(config)))),
            resolved_yaml(config));
}

TEST_F(ConfigTest, ListsWithinAnEntryStandForOneEntryEach) {
  const ExperimentConfig config = load_experiment(write_lines(
      9, "  transform: {kind: kbbq, lambda: [0.5, 1], transform_block: 32}"));
  ASSERT_EQ(config.axes[1].values.size(), 2u);
  EXPECT_EQ(config.axes[1].values[1].parameters.at("lambda"), "1");
  EXPECT_EQ(config.axes[1].values[1].parameters.at("transform_block"), "32");
}

TEST_F(ConfigTest, PathsExpandAndFallBackToTheWorkingDirectory) {
  ::setenv("WUSH_TEST_FOLDER", folder_.c_str(), 1);
  ::setenv("HOME", folder_.c_str(), 1);
  ExperimentConfig config = load_experiment(
      write_lines(4, "  - {name: nano, path: \"${WUSH_TEST_FOLDER}/model\"}"));
  EXPECT_EQ(config.models[0].path.resolved, (folder_ / "model").string());
  config = load_experiment(write_lines(4, "  - {name: n, path: ~/model}"));
  EXPECT_EQ(config.models[0].path.resolved, (folder_ / "model").string());

  const fs::path before = fs::current_path();
  fs::create_directories(folder_ / "elsewhere" / "only-here");
  fs::current_path(folder_ / "elsewhere");
  config = load_experiment(write_lines(4, "  - {name: n, path: only-here}"));
  EXPECT_EQ(config.models[0].path.resolved, "only-here");
  // The file's own folder comes first.
  fs::create_directories(folder_ / "elsewhere" / "model");
  config = load_experiment(write_lines(0, ""));
  EXPECT_EQ(config.models[0].path.resolved, (folder_ / "model").string());
  fs::current_path(before);
}

TEST_F(ConfigTest, OverridesReplaceValuesAndMakeMappings) {
  const ExperimentConfig config = load_experiment(
      write_lines(0, ""),
      {"name=other", "sweep.transform=[hadamard, {kind: kbbq, lambda: 2}]",
       "models.0.name=renamed", "measure.kl={}", "options.damping=0.5",
       "options.damping=0.25", "sweep.weight_scale=[absmax, search]"});
  EXPECT_EQ(config.name, "other");
  EXPECT_EQ(config.axes[1].values[1].parameters.at("lambda"), "2");
  EXPECT_EQ(config.models[0].name, "renamed");
  EXPECT_TRUE(config.measures.kl);
  EXPECT_EQ(config.options.at("damping"), "0.25");
  EXPECT_EQ(config.axes.back().name, "weight_scale");
}

struct Override {
  const char* name;
  std::string text;
  std::string column;
  std::string message;
};

std::ostream& operator<<(std::ostream& out, const Override& c) {
  return out << c.name;
}

class OverrideRefused : public ConfigTest,
                        public ::testing::WithParamInterface<Override> {};

TEST_P(OverrideRefused, NamesTheOverrideAndItsColumn) {
  const Override& c = GetParam();
  const std::string error = error_of(write_lines(0, ""), {c.text});
  EXPECT_THAT(error, StartsWith("--set " + c.text + ":1:" + c.column + ": "));
  EXPECT_THAT(error, HasSubstr(c.message));
}

INSTANTIATE_TEST_SUITE_P(
    All, OverrideRefused,
    ::testing::Values(
        Override{"NoValue", "name", "1", "key.key=value"},
        Override{"NoKey", "=3", "1", "key.key=value"},
        Override{"EmptyStep", "sweep..format=mxfp4", "7", "expected a key"},
        Override{"TrailingDot", "sweep.=1", "1", "expected a key"},
        Override{"UnknownKey", "sweeep.format=mxfp4", "1", "found 'sweeep'"},
        Override{"UnknownName", "sweep.format=[nvfp4, mxfp5]", "22",
                 "mxfp4, nvfp4, int4 or mxfp4-ocp"},
        Override{"WrongType", "options.damping=x", "17", "decimal number"},
        Override{"Anchor", "name=&a b", "6", "anchor"},
        Override{"BelowScalar", "name.x=1", "6", "mapping"},
        Override{"IndexOutside", "models.1.name=x", "8", "below 1"},
        Override{"IndexNotANumber", "models.nano=x", "8", "found 'nano'"},
        Override{"NoMeasurement", "measure={}", "9",
                 "at least one measurement"},
        Override{"Emptied", "models=", "8", "list"}),
    [](const auto& test) { return std::string(test.param.name); });

struct Refused {
  const char* name;
  std::size_t line;
  std::string text;
  std::string column;
  std::string message;
  std::size_t found_line = 0;  // where the error is, when on another line
};

std::ostream& operator<<(std::ostream& out, const Refused& c) {
  return out << c.name;
}

class ConfigRefused : public ConfigTest,
                      public ::testing::WithParamInterface<Refused> {};

TEST_P(ConfigRefused, NamesPlaceExpectedAndFound) {
  const Refused& c = GetParam();
  const std::string path = write_lines(c.line, c.text);
  const std::string error = error_of(path);
  const std::size_t line = c.found_line == 0 ? c.line : c.found_line;
  EXPECT_THAT(error, StartsWith(path + ":" + std::to_string(line) + ":" +
                                c.column + ": expected"));
  EXPECT_THAT(error, HasSubstr("found"));
  EXPECT_THAT(error, HasSubstr(c.message));
  EXPECT_EQ(error.find('\n'), std::string::npos);
}

std::vector<Refused> refused_cases() {
  const std::string option_names =
      "damping, moments, transform_block, transform_block_fallback, "
      "weight_scale, activation_scale, global_scale, transform_dtype, fuse or "
      "solver_fallback";
  return {
      // Structure.
      {"UnknownKey", 2, "sede: 3", "1",
       "name, seed, models, calibration, evaluation, sweep, exclude, measure "
       "or options, found 'sede'"},
      {"DuplicateKey", 2, "name: x", "1", "'name' again"},
      {"MissingName", 1, "", "1", "the key 'name'", 2},
      {"UnknownModelKey", 4, "  - {name: nano, dir: model}", "18",
       "name or path"},
      {"UnknownSweepKey", 9, "  transforms: [wush]", "3", "format, transform"},
      {"UnknownMeasure", 14, "  perplexities: {}", "3",
       "layer_loss, equalization, perplexity, kl or throughput"},
      {"UnknownOption", 15, "options: {dampng: 0.1}", "11", option_names},
      {"SeedAmongOptions", 15, "options: {seed: 1}", "11", option_names},
      {"UnknownCalibrationKey", 5,
       "calibration: {text: a.txt, sequences: 1, length: 8, windows: 3}", "53",
       "text, sequences or length"},
      {"MissingMethod", 10, "", "3", "the key 'method'", 8},
      {"MissingModelPath", 4, "  - {name: nano}", "5", "the key 'path'"},
      {"MissingEqualizationLayer", 13, "  equalization: {linear: k_proj}", "17",
       "the key 'layer'"},
      {"UnknownLinear", 13, "  equalization: {layer: 0, linear: qkv}", "36",
       "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj"},
      {"MissingLayers", 13, "  layer_loss: {}", "15", "the key 'layers'"},
      {"MissingCalibration", 5, "", "1", "the key 'calibration'", 1},
      // Types.
      {"NameIsList", 1, "name: [demo]", "7", "found a list"},
      {"NameIsPath", 1, "name: ../demo", "7", "letters, digits"},
      {"NameIsHidden", 1, "name: .demo", "7", "letters, digits"},
      {"ModelsIsMapping", 4, "  {name: nano, path: model}", "3",
       "list with at least one entry, found a mapping"},
      {"CalibrationIsScalar", 5, "calibration: a.txt", "14",
       "a mapping with the keys"},
      {"FuseIsYes", 15, "options: {fuse: yes}", "17", "true or false"},
      {"FuseIsQuoted", 15, "options: {fuse: \"true\"}", "17",
       "found the string 'true'"},
      {"PerplexityIsNothing", 14, "  perplexity:", "3", "found nothing"},
      {"PerplexityHasKeys", 14, "  perplexity: {windows: 3}", "15",
       "empty mapping"},
      // Numbers.
      {"SeedIsOctal", 2, "seed: 010", "7", "integer"},
      {"SeedIsOctal12", 2, "seed: 0o10", "7", "integer"},
      {"SeedIsHex", 2, "seed: 0x10", "7", "integer"},
      {"SeedIsNegative", 2, "seed: -1", "7", "found '-1'"},
      {"SeedIsFraction", 2, "seed: 1.0", "7", "integer"},
      {"SeedIsExponent", 2, "seed: 1e3", "7", "integer"},
      {"SeedHasUnderscore", 2, "seed: 1_000", "7", "integer"},
      {"SeedIsTooLarge", 2, "seed: 9223372036854775808", "7", "integer"},
      {"SeedIsQuoted", 2, "seed: '3'", "7", "found the string '3'"},
      {"SeedIsPlus", 2, "seed: +3", "7", "integer"},
      {"DampingIsNan", 15, "options: {damping: .nan}", "20", "decimal"},
      {"DampingIsInfinite", 15, "options: {damping: .inf}", "20", "decimal"},
      {"DampingOverflows", 15, "options: {damping: 1e999}", "20", "1e999"},
      {"DampingUnderflows", 15, "options: {damping: 1e-999}", "20", "decimal"},
      {"DampingIsHex", 15, "options: {damping: 0x1p-3}", "20", "decimal"},
      {"DampingIsNegative", 15, "options: {damping: -0.1}", "20", "from 0"},
      {"DampingBeginsWithPoint", 15, "options: {damping: .5}", "20", "decimal"},
      {"DampingIsOctal", 15, "options: {damping: 00.5}", "20", "decimal"},
      {"LengthIsZero", 5,
       "calibration: {text: a.txt, sequences: 64, length: 0}", "51", "from 2"},
      {"SequencesIsAll", 5,
       "calibration: {text: a.txt, sequences: all, length: 8}", "39",
       "integer"},
      {"WindowsIsZero", 6, "evaluation: {text: b.txt, length: 8, windows: 0}",
       "47", "integer"},
      {"WindowsIsSome", 6,
       "evaluation: {text: b.txt, length: 8, windows: some}", "47", "'all'"},
      {"LayerIsNegative", 13, "  layer_loss: {layers: [-1]}", "25", "from 0"},
      {"LayerTwice", 13, "  layer_loss: {layers: [1, 1]}", "28", "once"},
      {"RepeatsIsZero", 13, "  layer_loss: {layers: [1], repeats: {random: 0}}",
       "47", "from 1"},
      {"LambdaTooLarge", 9, "  transform: {kind: kbbq, lambda: 2.5}", "35",
       "from 0 to 2"},
      // Names.
      {"UnknownFormat", 8, "  format: [mxfp4, fp4]", "19",
       "mxfp4, nvfp4, int4 or mxfp4-ocp, found 'fp4'"},
      {"UnknownTransform", 9, "  transform: whush", "14",
       "identity, random, hadamard, wus, wush or kbbq, found 'whush'"},
      {"UnknownMethod", 10, "  method: [rtn, gtpq]", "17",
       "rtn, gptq or babai, found 'gtpq'"},
      {"UnknownMoments", 15, "options: {moments: joint}", "20",
       "marginal or conditional"},
      {"UnknownScale", 15, "options: {weight_scale: amax}", "25",
       "absmax, mse2 or search"},
      {"UnknownTransformBlock", 15, "options: {transform_block: 24}", "28",
       "group, 16, 32, 64 or 128"},
      {"UnknownLossMoments", 13, "  layer_loss: {layers: [1], moments: all}",
       "38", "evaluation or calibration"},
      {"UnknownRepeats", 13, "  layer_loss: {layers: [1], repeats: {rand: 2}}",
       "39", "identity, random"},
      {"KindMissing", 9, "  transform: [{lambda: 0.5}]", "15",
       "the key 'kind'"},
      {"UnknownParameter", 9, "  transform: [{kind: wush, lambda: 0.5}]", "28",
       "found 'lambda'"},
      {"ParameterMissing", 9, "  transform: [identity, kbbq]", "25",
       "{kind: kbbq, lambda: ...}"},
      // Axes.
      {"EmptyAxis", 8, "  format: []", "11", "found an empty list"},
      {"EmptyModels", 4, "  []", "3", "found an empty list"},
      {"EmptyLambda", 9, "  transform: {kind: kbbq, lambda: []}", "35",
       "found an empty list"},
      {"ValueTwice", 8, "  format: [mxfp4, mxfp4]", "19", "once"},
      {"NumberTwiceInOtherSpelling", 10,
       "  method: rtn\n  damping: [0.1, 1.0e-1]", "18", "once", 11},
      {"OptionInTwoAxes", 9,
       "  transform: {kind: wush, damping: 0.1}\n  damping: [0.1, 0.2]", "14",
       "'transform' and 'damping'"},
      {"OptionInTwoEntries", 10, "  method: {kind: gptq, lambda: 0.5}", "24",
       "found 'lambda'"},
      {"ModelTwice", 4,
       "  - {name: nano, path: model}\n  - {name: nano, path: model}", "12",
       "no other model", 5},
      // Exclusions.
      {"ExcludeUnknownKey", 11, "exclude: [{tranform: wus}]", "12",
       "model, format"},
      {"ExcludeUnknownModel", 11, "exclude: [{model: other}]", "19",
       "expected nano"},
      {"ExcludeNothing", 11, "exclude: [{}]", "11", "at least one condition"},
      {"ExcludeUnknownName", 11, "exclude: [{method: [rtn, x]}]", "26",
       "babai"},
      // Paths.
      {"PathMissing", 4, "  - {name: nano, path: nowhere}", "24",
       "found 'nowhere'"},
      {"AbsolutePathMissing", 4, "  - {name: nano, path: /no/where}", "24",
       "a path that exists"},
      {"UndefinedVariable", 4,
       "  - {name: nano, path: \"${WUSH_NO_SUCH_VARIABLE}/x\"}", "24",
       "'WUSH_NO_SUCH_VARIABLE'"},
      {"UnclosedVariable", 4, "  - {name: nano, path: \"${HOME/x\"}", "24",
       "'}'"},
      {"EmptyPath", 4, "  - {name: nano, path: \"\"}", "24", "a text"},
      {"NulInPath", 4, "  - {name: nano, path: \"a\\0b\"}", "24", "control"},
      // YAML itself.
      {"Anchor", 2, "seed: &s 3", "7", "anchor"},
      {"Tag", 2, "seed: !!int 3", "7", "tag"},
      {"MergeKey", 15, "options: {<<: {damping: 0.1}}", "11", "found '<<'"},
      {"SecondDocument", 15, "---\nname: x", "1", "one document"},
  };
}

INSTANTIATE_TEST_SUITE_P(All, ConfigRefused,
                         ::testing::ValuesIn(refused_cases()),
                         [](const auto& test) {
                           return std::string(test.param.name);
                         });

TEST_F(ConfigTest, EmptyAndMissingFiles) {
  EXPECT_THAT(error_of(write("")), HasSubstr("empty file"));
  EXPECT_THAT(error_of(write("- a\n")), HasSubstr("a mapping"));
  const std::string missing = (folder_ / "missing.yaml").string();
  EXPECT_THAT(error_of(missing), StartsWith(missing + ": "));
  EXPECT_THAT(error_of(folder_.string()), StartsWith(folder_.string()));
}

// Whatever is cut off, the rest is accepted or refused with a place.
TEST_F(ConfigTest, TruncatedAtEveryLength) {
  std::string text;
  for (const std::string& line : valid_lines()) text += line + "\n";
  for (std::size_t length = 0; length < text.size(); ++length) {
    const std::string path = write(text.substr(0, length));
    const std::string error = error_of(path);
    if (error != "accepted") {
      EXPECT_THAT(error, StartsWith(path + ":")) << "at " << length;
    }
  }
}

}  // namespace
}  // namespace wush
