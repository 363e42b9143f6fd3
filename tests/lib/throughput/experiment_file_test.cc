// `measure: throughput` in an experiment file: what is read, what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "lib/experiment/cells.h"
#include "lib/experiment/config.h"
#include "lib/experiment/inputs.h"
#include "lib/experiment/throughput_measure.h"
#include "lib/support/error.h"
#include "lib/throughput/backend.h"
#include "lib/throughput/verify.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kValid[] =
    "name: speed\n"
    "sweep: {format: [mxfp4, nvfp4]}\n"
    "measure:\n"
    "  throughput:\n"
    "    tokens: [1, 16]\n"
    "    shapes: [{outputs: 96, inputs: 128}]\n"
    "    architectures: [Qwen3-8B, Qwen3-14B, Llama-3.1-70B]\n";

class ThroughputFile : public ::testing::Test {
 protected:
  std::string write(const std::string& text) {
    const std::string path = (folder_ / "x.yaml").string();
    std::ofstream(path) << text;
    return path;
  }
  // What is said of the valid file with one text replaced by another.
  std::string error_of(const std::string& from, const std::string& to) {
    std::string text = kValid;
    const auto at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    text.replace(at, from.size(), to);
    try {
      expand_cells(load_experiment(write(text)));
    } catch (const InputError& error) {
      std::string message = error.what();
      EXPECT_THAT(message, HasSubstr("x.yaml:"));
      return message.substr(message.find("x.yaml:"));
    }
    return "accepted";
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ThroughputFile, TakesTheNineLayersOfFigure2) {
  const ExperimentConfig config = load_experiment(write(kValid));
  const ThroughputMeasure& measure = *config.measures.throughput;
  EXPECT_THAT(measure.tokens, ElementsAre(1, 16));
  EXPECT_THAT(measure.pipelines, ElementsAre("matmul", "hadamard", "wush"));
  EXPECT_EQ(measure.repeats, 20);
  EXPECT_EQ(measure.warmup, 3);
  // As figure 2 of the paper lists them (results/published/wush.yaml).
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes;
  ASSERT_EQ(measure.models.size(), 4u);
  EXPECT_EQ(measure.models[0].name, "shapes");
  for (std::size_t i = 1; i < 4; ++i) {
    for (const LayerShape& layer : measure.models[i].layers) {
      shapes.emplace_back(layer.outputs, layer.inputs);
    }
  }
  using Shape = std::pair<std::int64_t, std::int64_t>;
  EXPECT_THAT(
      shapes,
      ElementsAre(Shape{4096, 4096}, Shape{24576, 4096}, Shape{4096, 12288},
                  Shape{5120, 5120}, Shape{34816, 5120}, Shape{5120, 17408},
                  Shape{8192, 8192}, Shape{57344, 8192}, Shape{8192, 28672}));
}

TEST_F(ThroughputFile, HasOneCellAFormatOfEachModelAndABaseline) {
  const ExperimentConfig config = load_experiment(write(kValid));
  const ExpandedSweep sweep = expand_cells(config);
  ASSERT_EQ(sweep.cells.size(), 4u * 3);
  EXPECT_EQ(cell_label(sweep.cells[3].parameters, config),
            "Qwen3-8B unquantized");
  EXPECT_EQ(cell_label(sweep.cells[4].parameters, config), "Qwen3-8B mxfp4");
}

TEST_F(ThroughputFile, ResolvedTextNeedsNoPathAndReadsAsTheSame) {
  std::string text = kValid;
  text += "    pipelines: [wush]\n    repeats: 5\n    warmup: 0\n";
  text.replace(text.find("Qwen3-14B"), 9,
               std::string(WUSH_SOURCE_DIR) +
                   "/tests/data/checkpoints/qwen3-head-dim/config.json");
  const ExperimentConfig config = load_experiment(write(text));
  EXPECT_EQ(config.measures.throughput->models[2].name, "qwen3-head-dim");
  // hidden 64, 4 heads of 32, inner 96.
  EXPECT_EQ(config.measures.throughput->models[2].layers[0].inputs, 128);
  EXPECT_EQ(config.measures.throughput->models[2].layers[1].outputs, 192);
  const std::string resolved = resolved_yaml(config);
  EXPECT_THAT(resolved, ::testing::Not(HasSubstr("config.json")));
  const ExperimentConfig again =
      parse_experiment(parse_yaml(resolved, "resolved"), "/nowhere/x.yaml");
  EXPECT_EQ(resolved_yaml(again), resolved);
}

TEST_F(ThroughputFile, KeysDependOnTheDeviceAndTheirOwnModelOnly) {
  const auto keys = [&](const std::string& text, const std::string& mode) {
    const ExperimentConfig config = load_experiment(write(text));
    return cell_keys(config, expand_cells(config).cells, {}, mode);
  };
  const auto all = keys(kValid, "H100");
  EXPECT_NE(keys(kValid, "H200")[4], all[4]);
  std::string fewer = kValid;
  fewer.replace(fewer.find(", Qwen3-14B"), 11, "");
  const auto without = keys(fewer, "H100");
  EXPECT_EQ(without[4], all[4]);  // Qwen3-8B mxfp4
  EXPECT_EQ(without[6], all[9]);  // Llama-3.1-70B
  const auto piped =
      keys(std::string(kValid) + "    pipelines: [wush]\n", "H100");
  EXPECT_EQ(piped[3], all[3]) << "the baselines have no pipelines";
  EXPECT_NE(piped[4], all[4]);
}

struct Refused {
  const char* name;
  const char* from;
  const char* to;
  const char* message;  // from the file's name on
};

std::ostream& operator<<(std::ostream& out, const Refused& refused) {
  return out << refused.name;
}

class ThroughputRefused : public ThroughputFile,
                          public ::testing::WithParamInterface<Refused> {};

TEST_P(ThroughputRefused, WithItsPlace) {
  EXPECT_THAT(error_of(GetParam().from, GetParam().to),
              HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, ThroughputRefused,
    ::testing::Values(
        Refused{"NoTokens", "    tokens: [1, 16]\n", "",
                "x.yaml:5:5: expected the key 'tokens'"},
        Refused{"ZeroTokens", "[1, 16]", "[0]", "x.yaml:5:14: expected an"},
        Refused{"TokensTwice", "[1, 16]", "[1, 1]",
                "x.yaml:5:17: expected each number of tokens once"},
        Refused{"NoShapes",
                "    shapes: [{outputs: 96, inputs: 128}]\n    architectures: "
                "[Qwen3-8B, Qwen3-14B, Llama-3.1-70B]\n",
                "", "x.yaml:5:5: expected the key 'shapes' or"},
        Refused{"UnknownKey", "tokens:", "token:", "x.yaml:5:5: expected the"},
        Refused{"ShapeTwice", "inputs: 128}",
                "inputs: 128}, {outputs: 96, "
                "inputs: 128}",
                "expected each shape once"},
        Refused{"NegativeOutputs", "96", "-96", "x.yaml:6:24: expected an"},
        Refused{"UnknownArchitecture", "Qwen3-8B,", "Qwen9,",
                "x.yaml:7:21: expected Llama-3.2-3B-Instruct, "},
        Refused{"ArchitectureTwice", "Qwen3-14B", "Qwen3-8B",
                "x.yaml:7:31: expected a name that no other"},
        Refused{"NoSuchPath", "Qwen3-14B", "no/config.json",
                "x.yaml:7:31: expected a path that exists"},
        Refused{"UnknownPipeline", "tokens:", "pipelines: [kbbq]\n    tokens:",
                "x.yaml:5:17: expected matmul, hadamard or wush, found 'kbbq'"},
        Refused{"NoRepeats", "tokens:", "repeats: 0\n    tokens:",
                "x.yaml:5:14: expected an integer from 1"},
        Refused{"OtherMeasurement", "  throughput:",
                "  perplexity: {}\n  throughput:", "expected throughput alone"},
        Refused{"Models", "name: speed\n",
                "name: speed\nmodels: [{name: a, path: /}]\n",
                "x.yaml:2:1: expected no models beside measure.throughput"},
        Refused{"Transform", "nvfp4]}", "nvfp4], transform: [wush]}",
                "x.yaml:2:33: expected the key format, "},
        Refused{"OtherOption", "name: speed\n",
                "name: speed\noptions: {damping: 0.1}\n",
                "x.yaml:2:11: expected the key transform_block or "},
        Refused{"OtherParameter", "[mxfp4, nvfp4]",
                "[{kind: mxfp4, damping: 0.1}]",
                "x.yaml:2:18: expected the option transform_block or "},
        Refused{"InputsOfHalfAGroup", "inputs: 128", "inputs: 16",
                "x.yaml:2:18: expected inputs that are a multiple of 32"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ThroughputDevice, IsRefusedByNameWhereItIsNotThere) {
  for (const std::string name : {"cuda:99", "cuda:", "cuda:x", "tpu"}) {
    try {
      make_throughput_backend(name, 1);
      ADD_FAILURE() << name;
    } catch (const DeviceError& error) {
      EXPECT_THAT(error.what(), HasSubstr("device \"" + name + "\""));
    }
  }
}

TEST(ThroughputDevice, CudaVerifiesAndTimesASmallLayer) {
  std::unique_ptr<ThroughputBackend> backend;
  try {
    backend = make_throughput_backend("cuda:0", 1);
  } catch (const DeviceError& error) {
    GTEST_SKIP() << error.what();
  }
  const RandomValues values(1);
  for (const auto format : {numerics::Format::kMxfp4, numerics::Format::kNvfp4,
                            numerics::Format::kInt4}) {
    const int group = numerics::describe(format).group;
    for (const std::int64_t tokens : {1, 17, 300}) {
      const LinearProblem problem{
          tokens, 512, 1024, format, numerics::ScaleRule::kAbsMax, group};
      backend->prepare(problem, values);
      for (const char* path : {"bf16", "fp16", "matmul", "hadamard", "wush"}) {
        EXPECT_NO_THROW(verify_path(*backend, problem, path, values)) << path;
        EXPECT_GT(backend->time(path), 0);
      }
    }
  }
}

}  // namespace
}  // namespace wush
