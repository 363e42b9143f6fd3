// Inverse frequencies of the four RoPE types, against values worked out by hand
// and the laws that the papers state.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "lib/checkpoint/config.h"

namespace wush {
namespace {

// A few roundings of double in pow, log and the divisions after them.
constexpr double kRelative = 1e-13;

void expect_close(double actual, double expected) {
  EXPECT_NEAR(actual, expected, kRelative * std::abs(expected));
}

ModelConfig with_rope(RopeType type, int64_t head_dim) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope.type = type;
  return config;
}

TEST(Rope, DefaultIsGeometric) {
  const auto f = rope_inverse_frequencies(with_rope(RopeType::kDefault, 8));
  ASSERT_EQ(f.size(), 4u);
  // theta = 10^4 and head_dim = 8: f_i = 10^-i.
  expect_close(f[0], 1.0);
  expect_close(f[1], 0.1);
  expect_close(f[2], 0.01);
  expect_close(f[3], 0.001);
}

TEST(Rope, LinearStretchesAllPairs) {
  ModelConfig config = with_rope(RopeType::kLinear, 8);
  const auto plain = rope_inverse_frequencies(with_rope(RopeType::kDefault, 8));
  config.rope.factor = 2.5;
  const auto f = rope_inverse_frequencies(config);
  for (size_t i = 0; i < f.size(); ++i) expect_close(f[i], plain[i] / 2.5);
}

TEST(Rope, Llama3KeepsShortAndStretchesLongWavelengths) {
  ModelConfig config = with_rope(RopeType::kLlama3, 8);
  config.rope.factor = 8.0;
  config.rope.low_freq_factor = 1.0;
  config.rope.high_freq_factor = 4.0;
  config.rope.original_max_position_embeddings = 128;
  const auto f = rope_inverse_frequencies(config);
  // Wavelengths 2 pi 10^i = 6.3, 62.8, 628, 6283 against the bounds 128 / 4 =
  // 32 and 128 / 1 = 128: kept, between, stretched, stretched.
  expect_close(f[0], 1.0);
  const double smooth = (128 * 0.1 / (2 * std::numbers::pi) - 1.0) / 3.0;
  expect_close(f[1], (1 - smooth) * 0.1 / 8 + smooth * 0.1);
  expect_close(f[2], 0.01 / 8);
  expect_close(f[3], 0.001 / 8);
}

TEST(Rope, YarnInterpolatesByParts) {
  ModelConfig config = with_rope(RopeType::kYarn, 16);
  config.rope.factor = 4.0;
  config.rope.original_max_position_embeddings = 4096;
  const auto f = rope_inverse_frequencies(config);
  ModelConfig plain_config = with_rope(RopeType::kDefault, 16);
  const auto plain = rope_inverse_frequencies(plain_config);
  // Pair d turns r times in 4096 positions at d = 16 ln(4096 / (2 pi r)) /
  // (2 ln 10^4): 2.62 for r = 32 (floor 2) and 5.63 for r = 1 (ceiling 6).
  for (size_t i = 0; i < f.size(); ++i) {
    const double ramp =
        std::min(std::max((static_cast<double>(i) - 2.0) / 4.0, 0.0), 1.0);
    expect_close(f[i], plain[i] * (1 - ramp) + plain[i] / 4 * ramp);
  }
  EXPECT_EQ(f[1], plain[1]);
  expect_close(f[7], plain[7] / 4);
}

TEST(Rope, YarnAttentionFactorIsResolved) {
  const std::string text = R"({"model_type": "llama", "hidden_size": 8,
    "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
    "vocab_size": 5, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4,
      "original_max_position_embeddings": 32)";
  const ModelConfig derived = parse_config(text + "}}", "config.json");
  expect_close(derived.rope.attention_factor, 0.1 * std::log(4.0) + 1.0);
  const ModelConfig given =
      parse_config(text + R"(, "attention_factor": 1.5}})", "config.json");
  EXPECT_EQ(given.rope.attention_factor, 1.5);
  EXPECT_EQ(given.rope.beta_fast, 32.0);
  EXPECT_EQ(given.rope.beta_slow, 1.0);
}

}  // namespace
}  // namespace wush
