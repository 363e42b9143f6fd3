// From an experiment to its cells.
#include "lib/experiment/cells.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "lib/experiment/option_table.h"
#include "lib/experiment/yaml_document.h"
#include "lib/support/error.h"

namespace wush {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Every path is the working directory: the paths are not read here.
ExperimentConfig experiment(const std::string& sweep,
                            const std::string& rest = "") {
  return parse_experiment(
      parse_yaml("name: x\nmodels: [{name: a, path: .}, {name: b, path: .}]\n"
                 "calibration: {text: ., sequences: 1, length: 8}\n"
                 "evaluation: {text: ., length: 8}\n"
                 "measure: {kl: {}}\nsweep: {" +
                     sweep + "}\n" + rest,
                 "x.yaml"),
      "x.yaml");
}

std::vector<std::string> labels(const ExperimentConfig& config) {
  std::vector<std::string> result;
  for (const CellSpec& cell : expand_cells(config).cells) {
    result.push_back(cell_label(cell.parameters, config));
  }
  return result;
}

TEST(Cells, UnquantizedFirstThenTheProductPerModel) {
  EXPECT_THAT(
      labels(experiment("format: mxfp4, transform: [wush, identity], "
                        "method: [rtn, gptq]")),
      ElementsAre("a unquantized", "a mxfp4 wush rtn", "a mxfp4 wush gptq",
                  "a mxfp4 identity rtn", "a mxfp4 identity gptq",
                  "b unquantized", "b mxfp4 wush rtn", "b mxfp4 wush gptq",
                  "b mxfp4 identity rtn", "b mxfp4 identity gptq"));
}

TEST(Cells, OptionsAreAxesToo) {
  EXPECT_THAT(labels(experiment("format: mxfp4, transform: wush, method: rtn, "
                                "weight_scale: [absmax, search], seed: [0, 1]",
                                "exclude: [{model: b}]\n")),
              ElementsAre("a unquantized", "a mxfp4 wush rtn",
                          "a mxfp4 wush rtn seed=1",
                          "a mxfp4 wush rtn weight_scale=search",
                          "a mxfp4 wush rtn seed=1 weight_scale=search",
                          "b unquantized"));
}

TEST(Cells, EntriesCarryTheirOwnParameters) {
  const ExperimentConfig config = experiment(
      "format: [{kind: nvfp4, global_scale: amax}], "
      "transform: [wush, {kind: kbbq, lambda: 0.75, transform_block: 64}], "
      "method: {kind: gptq, damping: 0.1}",
      "exclude: [{model: b}]\n");
  const std::vector<CellSpec> cells = expand_cells(config).cells;
  ASSERT_EQ(cells.size(), 4u);
  const CellSpec& kbbq = cells[2];
  EXPECT_EQ(kbbq.format, numerics::Format::kNvfp4);
  EXPECT_EQ(kbbq.transform.name, "kbbq");
  EXPECT_EQ(kbbq.transform.lambda, 0.75);
  EXPECT_EQ(kbbq.method, "gptq");
  EXPECT_EQ(kbbq.options.transform_block, 64);
  EXPECT_EQ(kbbq.options.damping, 0.1);
  EXPECT_EQ(kbbq.options.global_scale, GlobalScale::kAmax);
  EXPECT_EQ(kbbq.parameters.options.at("lambda"), "0.75");
  EXPECT_EQ(kbbq.parameters.options.at("moments"), "marginal");
  EXPECT_EQ(cells[1].options.transform_block, 0);
  EXPECT_FALSE(cells[1].parameters.options.contains("lambda"));
}

TEST(Cells, TheUnquantizedModelHasNoOptions) {
  const CellSpec cell =
      expand_cells(experiment("format: int4, transform: wus, method: rtn"))
          .cells.front();
  EXPECT_FALSE(cell.format.has_value());
  EXPECT_EQ(cell.parameters.format, "none");
  EXPECT_EQ(cell.parameters.transform, "identity");
  EXPECT_EQ(cell.parameters.method, "none");
  EXPECT_TRUE(cell.parameters.options.empty());
}

TEST(Cells, ExclusionsMatchPartsAndCountWhatTheyRemove) {
  const ExperimentConfig config = experiment(
      "format: [mxfp4, int4], "
      "transform: [wus, {kind: kbbq, lambda: [0.5, 0.75]}], "
      "method: [rtn, gptq], fuse: [false, true]",
      "exclude:\n"
      "  - {model: b}\n"
      "  - {transform: wus, method: [gptq, babai]}\n"
      "  - {transform: {kind: kbbq, lambda: 0.5}}\n"
      "  - {format: int4, fuse: true}\n"
      "  - {method: babai}\n");
  const ExpandedSweep sweep = expand_cells(config);
  EXPECT_THAT(sweep.excluded, ElementsAre(24, 4, 8, 3, 0));
  EXPECT_THAT(
      labels(config),
      ElementsAre("a unquantized", "a mxfp4 wus rtn",
                  "a mxfp4 wus rtn fuse=true", "a mxfp4 kbbq rtn lambda=0.75",
                  "a mxfp4 kbbq rtn fuse=true lambda=0.75",
                  "a mxfp4 kbbq gptq lambda=0.75",
                  "a mxfp4 kbbq gptq fuse=true lambda=0.75", "a int4 wus rtn",
                  "a int4 kbbq rtn lambda=0.75", "a int4 kbbq gptq lambda=0.75",
                  "b unquantized"));
}

TEST(Cells, ParametersTellAllCellsApart) {
  const ExperimentConfig config = experiment(
      "format: [mxfp4, nvfp4, int4, mxfp4-ocp], transform: [identity, random, "
      "hadamard, wus, wush, {kind: kbbq, lambda: [0, 1, 2]}], method: [rtn, "
      "gptq, babai], damping: [0.01, 0.1], moments: [marginal, conditional], "
      "transform_dtype: [float32, bfloat16]");
  std::set<std::string> seen;
  for (const CellSpec& cell : expand_cells(config).cells) {
    std::string text = cell.parameters.model + cell.parameters.format +
                       cell.parameters.transform + cell.parameters.method;
    for (const auto& [name, value] : cell.parameters.options) {
      text += name + "=" + value + ";";
    }
    EXPECT_TRUE(seen.insert(text).second) << text;
  }
  EXPECT_EQ(seen.size(), 2u * (1 + 4 * 8 * 3 * 2 * 2 * 2));
}

TEST(Cells, TransformBlockHasToHoldWholeGroups) {
  const ExperimentConfig config = experiment(
      "format: [nvfp4, mxfp4], transform: wush, method: rtn, "
      "transform_block: [16, 32]");
  try {
    expand_cells(config);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("x.yaml:6:25: "));
    EXPECT_THAT(error.what(), HasSubstr("multiple of the group 32 of mxfp4"));
  }
  // A cell that is excluded is no error.
  EXPECT_EQ(expand_cells(
                experiment("format: [nvfp4, mxfp4], transform: wush, "
                           "method: rtn, transform_block: [16, 32]",
                           "exclude: [{format: mxfp4, transform_block: 16}]"))
                .cells.size(),
            2u * (1 + 3));
}

TEST(Cells, FarTooManyAreRefused) {
  std::string seeds;
  for (int i = 0; i < 2000; ++i) seeds += std::to_string(i) + ",";
  const ExperimentConfig config = experiment(
      "format: [mxfp4, nvfp4, int4], transform: {kind: kbbq, "
      "lambda: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "
      "damping: [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]}, "
      "method: [rtn, gptq, babai], seed: [" +
      seeds + "]");
  EXPECT_THROW(expand_cells(config), InputError);
}

// Each option's text has to arrive in the type that the pipeline reads.
TEST(OptionTable, EveryOptionChangesTheOptions) {
  const auto with = [](const std::string& name, const std::string& text) {
    return to_quantization_options({{name, text}});
  };
  const QuantizationOptions defaults;
  EXPECT_EQ(with("damping", "0.5").damping, 0.5);
  EXPECT_EQ(with("moments", "conditional").moments, MomentsKind::kConditional);
  EXPECT_EQ(with("transform_block", "128").transform_block, 128);
  EXPECT_TRUE(
      with("transform_block_fallback", "group").transform_block_fallback);
  EXPECT_EQ(with("weight_scale", "mse2").weight_scale,
            numerics::ScaleRule::kMse2);
  EXPECT_EQ(with("activation_scale", "search").activation_scale,
            numerics::ScaleRule::kSearch);
  EXPECT_EQ(with("global_scale", "amax").global_scale, GlobalScale::kAmax);
  EXPECT_EQ(with("transform_dtype", "bfloat16").transform_dtype,
            TransformType::kBfloat16);
  EXPECT_TRUE(with("fuse", "true").fuse);
  EXPECT_TRUE(with("solver_fallback", "rtn").solver_fallback);
  EXPECT_EQ(with("seed", "9223372036854775807").seed, 9223372036854775807u);

  const QuantizationOptions from_table =
      to_quantization_options(default_options());
  EXPECT_EQ(from_table.damping, defaults.damping);
  EXPECT_EQ(from_table.moments, defaults.moments);
  EXPECT_EQ(from_table.transform_block, defaults.transform_block);
  EXPECT_EQ(from_table.weight_scale, defaults.weight_scale);
  EXPECT_EQ(from_table.activation_scale, defaults.activation_scale);
  EXPECT_EQ(from_table.global_scale, defaults.global_scale);
  EXPECT_EQ(from_table.transform_dtype, defaults.transform_dtype);
  EXPECT_EQ(from_table.fuse, defaults.fuse);
  EXPECT_EQ(from_table.solver_fallback, defaults.solver_fallback);
  EXPECT_EQ(from_table.seed, defaults.seed);
}

TEST(TaskShare, SharesPartitionTheCells) {
  for (std::size_t count = 1; count <= 5; ++count) {
    std::vector<int> owners(17, 0);
    for (std::size_t i = 1; i <= count; ++i) {
      const TaskShare share =
          parse_task(std::to_string(i) + "/" + std::to_string(count));
      for (std::size_t cell = 0; cell < owners.size(); ++cell) {
        owners[cell] += share.has(cell) ? 1 : 0;
      }
    }
    EXPECT_THAT(owners, ::testing::Each(1));
  }
}

TEST(TaskShare, MalformedTextIsRefused) {
  for (const std::string text :
       {"", "1", "/", "1/", "/2", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "1 /2",
        "a/b", "1/2x", "1/99999999999999999999"}) {
    EXPECT_THROW(parse_task(text), InputError) << text;
  }
}

}  // namespace
}  // namespace wush
