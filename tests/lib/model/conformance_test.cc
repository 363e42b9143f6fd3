// Logits against Hugging Face transformers: small random checkpoints of every
// architecture.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/model/ends.h"
#include "tests/shared_data.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

nlohmann::json read_json(const fs::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

// ||a - b|| / ||b||
double relative_error(const std::vector<float>& a,
                      const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    error += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(error / norm);
}

struct ConformanceCase {
  std::string checkpoint;
  bool older_spelling;  // config.v4.json in place of config.json
};

void PrintTo(const ConformanceCase& c, std::ostream* out) {
  *out << c.checkpoint << (c.older_spelling ? " (transformers 4)" : "");
}

class Conformance : public ::testing::TestWithParam<ConformanceCase> {};

TEST_P(Conformance, LogitsOfLastPosition) {
  const std::string folder = "conformance/checkpoints/" + GetParam().checkpoint;
  WUSH_REQUIRE_SHARED(folder);
  fs::path checkpoint = testing::shared_dir() / folder;
  const nlohmann::json expected = read_json(checkpoint / "expected.json");
  const fs::path copy =
      fs::path(::testing::TempDir()) /
      ("wush-conformance-" + GetParam().checkpoint + std::to_string(getpid()));
  if (GetParam().older_spelling) {
    fs::create_directories(copy);
    fs::copy_file(checkpoint / "config.v4.json", copy / "config.json");
    fs::copy_file(checkpoint / "model.safetensors", copy / "model.safetensors");
    checkpoint = copy;
  }
  const Checkpoint model = Checkpoint::open(checkpoint);
  const auto device = make_device("cpu", 2);
  const auto ids = expected["ids"].get<Windows>();
  const auto logits =
      expected["logits_last"].get<std::vector<std::vector<float>>>();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto found = last_logits(*device, model, {ids[i]});
    EXPECT_LT(relative_error(found[0], logits[i]), 1e-4);
  }
  fs::remove_all(copy);
}

INSTANTIATE_TEST_SUITE_P(
    HuggingFace, Conformance,
    ::testing::Values(ConformanceCase{"llama2-mha", false},
                      ConformanceCase{"llama3-rope-scaling", false},
                      ConformanceCase{"llama3-rope-scaling", true},
                      ConformanceCase{"mistral-sliding-window", false},
                      ConformanceCase{"qwen2-bias", false},
                      ConformanceCase{"qwen3-head-dim", false}),
    [](const auto& test) {
      std::string name = test.param.checkpoint;
      std::replace(name.begin(), name.end(), '-', '_');
      return name + (test.param.older_spelling ? "_v4" : "");
    });

}  // namespace
}  // namespace wush
