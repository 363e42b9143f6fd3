// The command line: help, exit codes, what each command prints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "lib/support/json.h"
#include "lib/support/lock.h"
#include "tests/experiments/program.h"
#include "tests/temporary_folder.h"

namespace wush {
namespace {

using ::testing::AllOf;
using testing::Arguments;
using testing::copy_demo_model;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Outcome;
using testing::read_text_file;
using testing::run_program;
using ::testing::StartsWith;
using testing::TemporaryFolder;
using testing::write_text_file;
using testing::write_tiny_sweep;

const std::string kModel =
    std::string(WUSH_SOURCE_DIR) + "/experiments/demo/model";

// Exit code 2 and one line.
void expect_refused(const Outcome& outcome, const std::string& part) {
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(StartsWith("wush: "), HasSubstr(part)));
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
}

class HelpTest : public ::testing::TestWithParam<const char*> {};

TEST_P(HelpTest, ShowsAnExample) {
  const Outcome outcome = run_program({GetParam(), "--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("Example:"),
                                 HasSubstr(std::string("wush ") + GetParam())));
}

INSTANTIATE_TEST_SUITE_P(Commands, HelpTest,
                         ::testing::Values("run", "plan", "merge", "cells",
                                           "table", "figure", "report",
                                           "inspect", "tokenize", "logits"),
                         [](const auto& test) { return test.param; });

TEST(Program, HelpListsCommandsAndExitCodes) {
  const Outcome outcome = run_program({"--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("tokenize"), HasSubstr("128+n")));
  EXPECT_THAT(run_program({"--version"}).out, StartsWith("wush "));
}

TEST(Program, WrongCommandLinesAreRefusedInOneLine) {
  expect_refused(run_program({}), "subcommand");
  expect_refused(run_program({"rum"}), "rum");
  expect_refused(run_program({"run"}), "config");
  expect_refused(run_program({"run", "x.yaml", "--thread", "2"}), "--thread");
  expect_refused(run_program({"run", "x.yaml", "--threads", "-1"}), "-1");
  expect_refused(run_program({"run", "x.yaml", "--quiet", "--verbose"}),
                 "exclude");
  expect_refused(run_program({"run", "no-such.yaml"}), "no-such.yaml");
  expect_refused(run_program({"cells", "x.h5", "--format", "xml"}), "xml");
  expect_refused(run_program({"table", "no-such-table"}), "perplexity");
  expect_refused(run_program({"tokenize", kModel}), "--text or a file");
}

TEST(Program, StandardOutputThatIsFullIsAStorageError) {
  const TemporaryFolder folder;
  const std::string command = std::string(WUSH_PROGRAM) + " inspect " + kModel +
                              " > /dev/full 2> " + (folder / "err").string();
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 3);
  EXPECT_THAT(read_text_file(folder / "err"), HasSubstr("standard output"));
}

TEST(Program, DevicesThatAreNotThereAreNeverReplaced) {
  const TemporaryFolder folder;
  const std::string config = write_tiny_sweep(folder.path());
  const Arguments run = {"run", config, "--results", folder.path() / "r",
                         "--device"};
  for (const std::string device : {"cuda:99", "tpu", "cpu:1"}) {
    Arguments arguments = run;
    arguments.push_back(device);
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.code, 6) << device << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(device));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "r"));
}

TEST(Program, ASecondRunOnTheSameResultsExitsWithinASecond) {
  const TemporaryFolder folder;
  const std::string config = write_tiny_sweep(folder.path());
  std::filesystem::create_directories(folder / "r/tiny.d");
  const DirectoryLock lock(folder / "r/tiny.d/LOCK");
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome =
      run_program({"run", config, "--results", (folder / "r").string()});
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr(std::to_string(::getpid())));
  // The lock is tried for half a second; the rest is left to a busy machine.
  EXPECT_LT(seconds.count(), 5);
}

TEST(Program, PlanWritesNothingAndCountsWhatIsMissing) {
  const TemporaryFolder folder;
  const std::string config = write_tiny_sweep(folder.path());
  const Outcome outcome = run_program(
      {"plan", config, "--results", (folder / "r").string(), "--set",
       "exclude=[{transform: random, method: gptq}]", "--rate", "10"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("nano nvfp4 wush gptq"),
                    HasSubstr("7 of 7 cells are missing"),
                    HasSubstr("exclude entry 1: 2 cells"),
                    HasSubstr("peak memory"), HasSubstr("at 10 GFLOP/s")));
  EXPECT_FALSE(std::filesystem::exists(folder / "r"));
}

TEST(Program, InspectNamesWhatIsThere) {
  const Outcome outcome = run_program({"inspect", kModel});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("llama"), HasSubstr("4.2 M in 38 tensors"),
                    HasSubstr("model.layers.*.mlp.down_proj.weight"),
                    HasSubstr("[256, 768]"), HasSubstr("BF16"),
                    HasSubstr("4096 tokens"), HasSubstr("mxfp4")));
}

TEST(Program, TokenizePrintsIdsAsJson) {
  const TemporaryFolder folder;
  // Made with the reference tokenizer (tokenizers 0.23).
  EXPECT_EQ(run_program({"tokenize", kModel, "--text", "Hello world"}).out,
            "[0, 41, 4040, 1854]\n");
  EXPECT_EQ(run_program({"tokenize", kModel, "--text", ""}).out, "[0]\n");
  const std::string file = (folder / "x.jsonl").string();
  write_text_file(
      file, "{\"text\": \"Hello world\"}\n\n{\"text\": \" \", \"id\": 1}");
  EXPECT_EQ(run_program({"tokenize", kModel, file}).out,
            "[0, 41, 4040, 1854]\n[0, 222]\n");
  write_text_file(file, "{\"text\": \"x\"}\n{\"txt\": \"x\"}\n");
  expect_refused(run_program({"tokenize", kModel, file}), "x.jsonl:2#");
}

TEST(Program, LogitsOfRowsOfAnyLength) {
  const TemporaryFolder folder;
  const std::string file = (folder / "ids.json").string();
  const auto logits_of = [&](const std::string& ids) {
    write_text_file(file, ids);
    const Outcome outcome = run_program({"logits", kModel, "--ids", file});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    std::vector<std::vector<double>> rows;
    const JsonDocument document = JsonDocument::parse(outcome.out, "logits");
    for (const JsonValue& row : document.root().elements()) {
      rows.emplace_back();
      for (const JsonValue& value : row.elements()) {
        rows.back().push_back(value.number());
      }
    }
    return rows;
  };
  const auto rows = logits_of("[[0, 41, 4040], [5], [0, 41, 7]]");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].size(), 4096u);
  // Each row on its own gives the same numbers.
  EXPECT_EQ(rows[1], logits_of("[[5]]")[0]);
  EXPECT_EQ(rows[2], logits_of("[[0, 41, 7]]")[0]);
  EXPECT_NE(rows[0], rows[2]);
  for (const auto& [ids, place] :
       std::vector<std::pair<std::string, std::string>>{
           {"[[0, 4096]]", "#/0/1"},
           {"[[-1]]", "#/0/0"},
           {"[[]]", "#/0"},
           {"[]", "ids.json"},
           {"[[1.5]]", "#/0/0"},
           {"[[2147483648]]", "#/0/0"},
           {"{}", "ids.json"}}) {
    write_text_file(file, ids);
    expect_refused(run_program({"logits", kModel, "--ids", file}), place);
  }
}

// Wrong inputs of a run: exit code 2, one line, nothing written.
struct WrongInput {
  const char* name;
  void (*damage)(const std::filesystem::path& model);
  std::string override_text;
  std::string message;
};

std::ostream& operator<<(std::ostream& out, const WrongInput& wrong) {
  return out << wrong.name;
}

void replace_in_config(const std::filesystem::path& model,
                       const std::string& from, const std::string& to) {
  std::string text = read_text_file(model / "config.json");
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos);
  write_text_file(model / "config.json", text.replace(at, from.size(), to));
}

class WrongInputTest : public ::testing::TestWithParam<WrongInput> {};

TEST_P(WrongInputTest, IsRefusedBeforeAnythingIsWritten) {
  const TemporaryFolder folder;
  const std::filesystem::path model = folder / "model";
  const std::string config = write_tiny_sweep(folder.path());
  copy_demo_model(model);
  GetParam().damage(model);
  Arguments arguments = {"run",       config,
                         "--results", (folder / "r").string(),
                         "--set",     "models.0.path=" + model.string()};
  if (!GetParam().override_text.empty()) {
    arguments.insert(arguments.end(), {"--set", GetParam().override_text});
  }
  expect_refused(run_program(arguments), GetParam().message);
  EXPECT_FALSE(std::filesystem::exists(folder / "r"));
}

void leave(const std::filesystem::path&) {}

INSTANTIATE_TEST_SUITE_P(
    All, WrongInputTest,
    ::testing::Values(
        WrongInput{"UnknownKey", leave, "sweeps=1", "name, seed, models"},
        WrongInput{"UnknownTransform", leave, "sweep.transform=whush",
                   "identity, random, hadamard, wus, wush or kbbq"},
        WrongInput{"DuplicateKey", leave, "measure={kl: {}, kl: {}}",
                   "'kl' again"},
        WrongInput{"LayerThatIsNotThere", leave,
                   "measure.layer_loss.layers=[4]", "layers from 0 to 3"},
        WrongInput{"MoreLossWindowsThanText", leave,
                   "measure.layer_loss.windows=5", "at most the 4"},
        WrongInput{"TextShorterThanAWindow", leave, "evaluation.length=1000000",
                   "evaluation.txt"},
        WrongInput{"TextWithTooFewWindows", leave,
                   "calibration.sequences=100000", "calibration.txt"},
        WrongInput{"TruncatedWeights",
                   [](const std::filesystem::path& model) {
                     std::filesystem::resize_file(model / "model.safetensors",
                                                  5000000);
                   },
                   "", "model.safetensors"},
        WrongInput{"MissingWeights",
                   [](const std::filesystem::path& model) {
                     std::filesystem::remove(model / "model.safetensors");
                   },
                   "", "model.safetensors"},
        WrongInput{"MissingShard",
                   [](const std::filesystem::path& model) {
                     std::filesystem::remove(model / "model.safetensors");
                     write_text_file(model / "model.safetensors.index.json",
                                     "{\"weight_map\": {\"model.norm.weight\": "
                                     "\"model-00001-of-00001.safetensors\"}}");
                   },
                   "", "model-00001-of-00001.safetensors"},
        WrongInput{"ShapeMismatch",
                   [](const std::filesystem::path& model) {
                     replace_in_config(model, "\"intermediate_size\": 768",
                                       "\"intermediate_size\": 512");
                   },
                   "", "mlp"},
        WrongInput{"UnsupportedArchitecture",
                   [](const std::filesystem::path& model) {
                     replace_in_config(model, "\"model_type\": \"llama\"",
                                       "\"model_type\": \"mamba\"");
                   },
                   "", "mamba"},
        WrongInput{"AlreadyQuantized",
                   [](const std::filesystem::path& model) {
                     replace_in_config(
                         model, "\"use_cache\": true",
                         "\"quantization_config\": {\"quant_method\": "
                         "\"gptq\"}");
                   },
                   "", "quantization_config"},
        WrongInput{"MissingTokenizer",
                   [](const std::filesystem::path& model) {
                     std::filesystem::remove(model / "tokenizer.json");
                   },
                   "", "tokenizer.json"}),
    [](const auto& test) { return std::string(test.param.name); });

// A value in a weight is seen when it is read, after the run has begun.
TEST(Program, NotANumberInAWeightIsNamed) {
  const TemporaryFolder folder;
  const std::filesystem::path model = folder / "model";
  copy_demo_model(model);
  std::string weights = read_text_file(model / "model.safetensors");
  // The last tensor's last value becomes a bfloat16 NaN.
  weights[weights.size() - 1] = '\x7f';
  weights[weights.size() - 2] = '\xff';
  write_text_file(model / "model.safetensors", weights);
  const Outcome outcome = run_program(
      {"run", write_tiny_sweep(folder.path()), "--results",
       (folder / "r").string(), "--set", "models.0.path=" + model.string()});
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("model.safetensors"), HasSubstr("found nan")));
}

}  // namespace
}  // namespace wush
