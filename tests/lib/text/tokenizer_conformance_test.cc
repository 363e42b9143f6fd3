// Token ids and decoded texts of the reference library, line by line.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/text/tokenizer.h"
#include "tests/shared_data.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

struct Source {
  std::string name;
  bool in_repository;
  std::string tokenizer;  // folder, in the repository or the shared data
  std::string cases;      // .jsonl with text, ids and decoded
  size_t line_count;
};

std::ostream& operator<<(std::ostream& out, const Source& c) {
  return out << c.name;
}

class TokenizerConformance : public ::testing::TestWithParam<Source> {
 protected:
  static fs::path root() {
    return GetParam().in_repository ? fs::path(WUSH_SOURCE_DIR)
                                    : testing::shared_dir();
  }
};

TEST_P(TokenizerConformance, EveryLineIsExact) {
  const Source& source = GetParam();
  if (!source.in_repository) WUSH_REQUIRE_SHARED(source.tokenizer);
  const Tokenizer tokenizer = Tokenizer::load(root() / source.tokenizer);
  std::ifstream file(root() / source.cases);
  std::string line;
  size_t lines = 0;
  while (std::getline(file, line)) {
    const nlohmann::json expected = nlohmann::json::parse(line);
    const auto text = expected.at("text").get<std::string>();
    const auto ids = expected.at("ids").get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.decode(ids), expected.at("decoded").get<std::string>());
    ++lines;
  }
  EXPECT_EQ(lines, source.line_count);
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenizerConformance,
    ::testing::Values(Source{"nano", true, "experiments/demo/model",
                             "tests/data/tokenizers/nano.jsonl", 30},
                      Source{"shared_nano", false, "models/nano",
                             "conformance/tokenizers/nano.jsonl", 30},
                      Source{"shared_small", false, "models/small",
                             "conformance/tokenizers/small.jsonl", 30},
                      Source{"shared_llama2", false,
                             "conformance/tokenizers/llama2",
                             "conformance/tokenizers/llama2.jsonl", 30}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace wush
