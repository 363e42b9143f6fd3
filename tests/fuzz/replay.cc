// Replays a fuzz target's seeds as ordinary tests.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace wush {
namespace {

std::vector<std::string> seeds() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(WUSH_FUZZ_CORPUS)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Seed : public ::testing::TestWithParam<std::string> {};

TEST_P(Seed, IsReadOrRefused) {
  std::ifstream file(std::filesystem::path(WUSH_FUZZ_CORPUS) / GetParam(),
                     std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(LLVMFuzzerTestOneInput(
                reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
            0);
}

INSTANTIATE_TEST_SUITE_P(Corpus, Seed, ::testing::ValuesIn(seeds()),
                         [](const auto& each) {
                           std::string name = each.param;
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) {
                               c = '_';
                             }
                           }
                           return name;
                         });

}  // namespace
}  // namespace wush
