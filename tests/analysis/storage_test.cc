// Table 7, exact from the architecture.
#include "lib/metrics/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "analysis/registry.h"
#include "lib/support/error.h"
#include "tests/analysis/synthetic_results.h"

namespace wush {
namespace {

nlohmann::json storage_json(const AnalysisRequest& request) {
  return nlohmann::json::parse(
      render(make_table("storage", request), TableFormat::kJson));
}

TEST(StorageTableTest, ReproducesTheTenPublishedPercentages) {
  // Paper, table 7: mxfp4 and nvfp4.
  const std::map<std::string, std::pair<double, double>> published = {
      {"Llama-3.2-3B-Instruct", {2.1, 1.0}},
      {"Llama-3.1-8B-Instruct", {1.4, 0.7}},
      {"Qwen3-8B", {1.4, 0.7}},
      {"Qwen3-14B", {1.2, 0.6}},
      {"Qwen3-32B", {1.2, 0.6}}};
  int compared = 0;
  const nlohmann::json document = storage_json({});
  for (const auto& row : document["rows"]) {
    const auto model = published.find(row["model"].get<std::string>());
    if (model == published.end()) continue;
    const std::string format = row["format"];
    if (format == "int4") continue;
    const double expected =
        format == "mxfp4" ? model->second.first : model->second.second;
    EXPECT_EQ(row["published_percent"], expected);
    const double printed =
        std::round(10 * row["transform_percent"].get<double>()) / 10;
    EXPECT_EQ(printed, expected) << model->first << " " << format;
    ++compared;
  }
  EXPECT_EQ(compared, 10);
}

ModelConfig small_config() {
  ModelConfig config;
  config.hidden_size = 64;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 32;
  config.intermediate_size = 96;
  config.vocab_size = 100;
  config.tie_word_embeddings = false;
  config.qk_norm = true;
  return config;
}

TEST(StorageTest, CountsByHand) {
  const CheckpointStorage storage =
      checkpoint_storage(small_config(), numerics::Format::kMxfp4, {});
  // Per block: q 128x64, k and v 64x64, o 64x128, gate and up 96x64, down
  // 64x96.
  const std::int64_t weights =
      2 * (128 * 64 + 2 * 64 * 64 + 64 * 128 + 2 * 96 * 64 + 64 * 96);
  EXPECT_EQ(storage.quantized_weights, weights);
  EXPECT_EQ(storage.code_bytes, weights / 2);
  EXPECT_EQ(storage.scale_bytes, weights / 32);
  // [in / 32, 32, 32] in 2 bytes: inputs 64 (q, k, v, gate, up), 128 and 96.
  EXPECT_EQ(storage.transform_bytes, 2 * (5 * 64 + 128 + 96) * 32 * 2);
  // Embeddings and lm_head, final norm; per block two norms and q, k norms.
  EXPECT_EQ(storage.unquantized_bytes,
            2 * (2 * 100 * 64 + 64 + 2 * (2 * 64 + 2 * 32)));
  EXPECT_DOUBLE_EQ(storage.bits_per_weight(), 4.25);
}

TEST(StorageTest, FusedTransformsAreStoredOnce) {
  StorageOptions options;
  options.fuse = true;
  const CheckpointStorage storage =
      checkpoint_storage(small_config(), numerics::Format::kNvfp4, options);
  EXPECT_EQ(storage.transform_bytes, 2 * (2 * 64 + 128 + 96) * 16 * 2);
  EXPECT_DOUBLE_EQ(storage.bits_per_weight(), 4.5);
}

TEST(StorageTest, WiderBlocksAndFloat32CostInProportion) {
  StorageOptions options;
  options.transform_block = 32;
  options.transform_dtype = TransformType::kFloat32;
  const auto wide =
      checkpoint_storage(small_config(), numerics::Format::kNvfp4, options);
  const auto plain =
      checkpoint_storage(small_config(), numerics::Format::kNvfp4, {});
  EXPECT_EQ(wide.transform_bytes, 4 * plain.transform_bytes);
}

TEST(StorageTest, TiedEmbeddingsAndBiases) {
  ModelConfig config = small_config();
  const auto untied = checkpoint_storage(config, numerics::Format::kInt4, {});
  config.tie_word_embeddings = true;
  config.qkv_bias = true;
  const auto tied = checkpoint_storage(config, numerics::Format::kInt4, {});
  EXPECT_EQ(untied.unquantized_bytes - tied.unquantized_bytes,
            2 * (100 * 64 - 2 * (128 + 64 + 64)));
}

TEST(StorageTest, RefusesABlockThatDoesNotDivide) {
  StorageOptions options;
  options.transform_block = 128;
  try {
    checkpoint_storage(small_config(), numerics::Format::kMxfp4, options);
    FAIL() << "64 is not a multiple of 128";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "q_proj: expected an input width that is a multiple of the "
                 "transform block of 128 channels, found 64");
  }
}

TEST(StorageTableTest, ReadsAnyConfig) {
  const testing::TemporaryFolder folder;
  const auto checkpoint = folder.path() / "mine";
  std::filesystem::create_directory(checkpoint);
  std::ofstream(checkpoint / "config.json")
      << R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"],
             "hidden_size": 256, "intermediate_size": 768,
             "num_hidden_layers": 4, "num_attention_heads": 8,
             "num_key_value_heads": 4, "vocab_size": 4096,
             "rms_norm_eps": 1e-6, "hidden_act": "silu",
             "max_position_embeddings": 512, "tie_word_embeddings": true})";
  const auto document = storage_json({{checkpoint}, "", false});
  ASSERT_EQ(document["rows"].size(), 3u);
  const auto& row = document["rows"][0];
  EXPECT_EQ(row["model"], "mine");
  EXPECT_TRUE(row["published_percent"].is_null());
  const std::int64_t weights = 4 * (256 * 256 * 3 + 3 * 256 * 768);
  const std::int64_t unquantized = 2 * (4096 * 256 + 256 + 4 * 2 * 256);
  EXPECT_EQ(row["checkpoint_bytes"], weights * 17 / 32 + unquantized);
}

}  // namespace
}  // namespace wush
