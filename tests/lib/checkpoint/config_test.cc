// config.json of every architecture, in both spellings, and what is refused.
#include "lib/checkpoint/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>

#include "lib/support/error.h"
#include "tests/child_process.h"
#include "tests/lib/checkpoint/tiny_checkpoint.h"

namespace wush {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;
using testing::tiny_config;

std::filesystem::path data_folder(const std::string& name) {
  return std::filesystem::path(WUSH_SOURCE_DIR) / "tests/data/checkpoints" /
         name;
}

ModelConfig parse(const json& config) {
  return parse_config(config.dump(), "config.json");
}

TEST(Config, LlamaWithoutGroups) {
  const ModelConfig config =
      read_config(data_folder("llama2-mha") / "config.json");
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.intermediate_size, 96);
  EXPECT_EQ(config.num_hidden_layers, 2);
  EXPECT_EQ(config.num_attention_heads, 4);
  EXPECT_EQ(config.num_key_value_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.max_position_embeddings, 256);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_FALSE(config.qkv_bias || config.o_bias || config.mlp_bias);
  EXPECT_THAT(config.sliding_window, ElementsAre(0, 0));
  EXPECT_THAT(config.bos_token_ids, ElementsAre(1));
  EXPECT_THAT(config.eos_token_ids, ElementsAre(2));
  EXPECT_EQ(config.rope.type, RopeType::kDefault);
  EXPECT_EQ(config.rope.theta, 10000.0);
}

TEST(Config, MistralWindowsEveryLayer) {
  const ModelConfig config =
      read_config(data_folder("mistral-sliding-window") / "config.json");
  EXPECT_EQ(config.architecture, Architecture::kMistral);
  EXPECT_THAT(config.sliding_window, ElementsAre(8, 8));
}

TEST(Config, Qwen2HasBiasesOnlyOnQkv) {
  const ModelConfig config =
      read_config(data_folder("qwen2-bias") / "config.json");
  EXPECT_EQ(config.architecture, Architecture::kQwen2);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.o_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config.head_dim, 16);
}

TEST(Config, Qwen3NormsHeadsOfTheirOwnWidth) {
  const ModelConfig config =
      read_config(data_folder("qwen3-head-dim") / "config.json");
  EXPECT_EQ(config.architecture, Architecture::kQwen3);
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.query_size(), 128);
  EXPECT_EQ(config.key_value_size(), 64);
}

// The two spellings of transformers 4 and 5 say the same.
class ConfigSpelling : public ::testing::TestWithParam<const char*> {};

// Rewrites rope_parameters as rope_theta and rope_scaling, dtype as
// torch_dtype.
json older_spelling(json config) {
  json rope = config.at("rope_parameters");
  config.erase("rope_parameters");
  config["rope_theta"] = rope.at("rope_theta");
  rope.erase("rope_theta");
  config["rope_scaling"] = rope.at("rope_type") == "default" ? json() : rope;
  config["torch_dtype"] = config.at("dtype");
  config.erase("dtype");
  return config;
}

void expect_same_rope(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(a.rope.type, b.rope.type);
  EXPECT_EQ(a.rope.theta, b.rope.theta);
  EXPECT_EQ(a.rope.factor, b.rope.factor);
  EXPECT_EQ(a.rope.attention_factor, b.rope.attention_factor);
  EXPECT_EQ(a.rope.original_max_position_embeddings,
            b.rope.original_max_position_embeddings);
  EXPECT_EQ(rope_inverse_frequencies(a), rope_inverse_frequencies(b));
}

TEST_P(ConfigSpelling, OlderEqualsNewer) {
  const std::filesystem::path folder = data_folder(GetParam());
  const ModelConfig newer = read_config(folder / "config.json");
  const json text = json::parse(read_config_text(folder / "config.json"));
  expect_same_rope(newer, parse(older_spelling(text)));
  if (std::filesystem::exists(folder / "config.v4.json")) {
    expect_same_rope(newer, read_config(folder / "config.v4.json"));
  }
}

INSTANTIATE_TEST_SUITE_P(Conformance, ConfigSpelling,
                         ::testing::Values("llama2-mha", "llama3-rope-scaling",
                                           "mistral-sliding-window",
                                           "qwen2-bias", "qwen3-head-dim"),
                         [](const auto& each) {
                           std::string name = each.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Config, AbsentFieldsHaveTheirDefaults) {
  json config = tiny_config();
  for (const char* key : {"num_key_value_heads", "head_dim", "rope_theta",
                          "bos_token_id", "architectures", "hidden_act"}) {
    config.erase(key);
  }
  const ModelConfig model = parse(config);
  EXPECT_EQ(model.num_key_value_heads, 2);
  EXPECT_EQ(model.head_dim, 4);
  EXPECT_EQ(model.rope.theta, 10000.0);
  EXPECT_TRUE(model.bos_token_ids.empty());
  EXPECT_THAT(model.eos_token_ids, ElementsAre(1, 2));

  config["num_key_value_heads"] = nullptr;
  config["head_dim"] = nullptr;
  EXPECT_EQ(parse(config).num_key_value_heads, 2);
  EXPECT_EQ(parse(config).head_dim, 4);
}

TEST(Config, QwenWindowsNeedUseSlidingWindow) {
  json config = tiny_config();
  config["model_type"] = "qwen2";
  config["architectures"] = {"Qwen2ForCausalLM"};
  config["num_hidden_layers"] = 3;
  config["sliding_window"] = 7;
  config["max_window_layers"] = 1;
  EXPECT_THAT(parse(config).sliding_window, ElementsAre(0, 0, 0));
  config["use_sliding_window"] = true;
  EXPECT_THAT(parse(config).sliding_window, ElementsAre(0, 7, 7));
  config["layer_types"] = {"sliding_attention", "full_attention",
                           "sliding_attention"};
  EXPECT_THAT(parse(config).sliding_window, ElementsAre(7, 0, 7));
  config["sliding_window"] = nullptr;
  EXPECT_THAT(parse(config).sliding_window, ElementsAre(0, 0, 0));
}

TEST(Config, LlamaBiasesFollowTheConfig) {
  json config = tiny_config();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  const ModelConfig model = parse(config);
  EXPECT_TRUE(model.qkv_bias && model.o_bias && model.mlp_bias);
}

struct Refusal {
  std::string name;
  std::function<void(json&)> change;
  std::string pointer;
  std::string expected;
  std::string found;
};

std::ostream& operator<<(std::ostream& out, const Refusal& c) {
  return out << c.name;
}

class ConfigRefused : public ::testing::TestWithParam<Refusal> {};

TEST_P(ConfigRefused, NamesPointerExpectedAndFound) {
  json config = tiny_config();
  GetParam().change(config);
  const std::string message = message_of<InputError>([&] { parse(config); });
  EXPECT_THAT(message, StartsWith("config.json#" + GetParam().pointer + ": "));
  EXPECT_THAT(message, HasSubstr("expected " + GetParam().expected));
  EXPECT_THAT(message, HasSubstr("found " + GetParam().found));
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

Refusal with(std::string name, const std::string& key, json value,
             std::string expected, std::string found) {
  return {std::move(name), [key, value](json& config) { config[key] = value; },
          "/" + key, std::move(expected), std::move(found)};
}

Refusal without(const std::string& key) {
  return {"no_" + key, [key](json& config) { config.erase(key); }, "",
          "key \"" + key + "\"", "none"};
}

Refusal with_rope(std::string name, json rope, std::string pointer,
                  std::string expected, std::string found) {
  return {std::move(name),
          [rope](json& config) { config["rope_scaling"] = rope; },
          "/rope_scaling" + pointer, std::move(expected), std::move(found)};
}

INSTANTIATE_TEST_SUITE_P(
    Values, ConfigRefused,
    ::testing::Values(
        with("layers_1e9", "num_hidden_layers", 1000000000,
             "integer from 1 to 4096", "1000000000"),
        with("layers_zero", "num_hidden_layers", 0, "integer from 1", "0"),
        with("hidden_negative", "hidden_size", -8, "integer from 1", "-8"),
        with("hidden_float", "hidden_size", 8.0, "integer", "number 8"),
        with("hidden_string", "hidden_size", "8", "integer", "string \"8\""),
        with("vocab_2_63", "vocab_size", uint64_t{1} << 63, "integer from 1",
             "9223372036854775808"),
        with("heads_do_not_group", "num_key_value_heads", 3,
             "a divisor of num_attention_heads 2", "3"),
        with("head_dim_odd", "head_dim", 5, "an even integer", "5"),
        with("eps_string", "rms_norm_eps", "1e-5", "number", "string"),
        with("eps_zero", "rms_norm_eps", 0.0, "number between 0 and 1",
             "number 0"),
        with("gelu", "hidden_act", "gelu", "activation \"silu\"",
             "string \"gelu\""),
        with("token_id_2_31", "bos_token_id", int64_t{1} << 31,
             "integer from 0 to 4", "2147483648"),
        with("token_id_negative", "eos_token_id", -1, "integer from 0 to 4",
             "-1"),
        with("tied_string", "tie_word_embeddings", "yes", "boolean",
             "string \"yes\""),
        with("partial_rotation", "partial_rotary_factor", 0.5, "1",
             "number 0.5"),
        with("quantized", "quantization_config",
             json{{"quant_method", "gptq"}, {"bits", 4}},
             "an unquantized checkpoint", "quantization string \"gptq\""),
        with("unknown_architecture", "model_type", "gpt_neox",
             "architecture llama, mistral, qwen2 or qwen3",
             "string \"gpt_neox\""),
        with("llama_window", "sliding_window", 128, "no window", "128"),
        Refusal{"classifier",
                [](json& config) {
                  config["architectures"] = {"LlamaForSequenceClassification"};
                },
                "/architectures/0", "LlamaForCausalLM",
                "string \"LlamaForSequenceClassification\""},
        Refusal{"heads_do_not_divide",
                [](json& config) {
                  config.erase("head_dim");
                  config["num_attention_heads"] = 3;
                  config["num_key_value_heads"] = 3;
                },
                "/num_attention_heads", "heads of an even width", "3"},
        Refusal{"mistral_without_window",
                [](json& config) {
                  config["model_type"] = "mistral";
                  config.erase("architectures");
                },
                "", "key \"sliding_window\"", "none"},
        Refusal{"layer_types_length",
                [](json& config) {
                  config["model_type"] = "qwen3";
                  config.erase("architectures");
                  config["layer_types"] = json::array();
                },
                "/layer_types", "1 entries", "array of 0"},
        Refusal{"layer_type_unknown",
                [](json& config) {
                  config["model_type"] = "qwen3";
                  config.erase("architectures");
                  config["layer_types"] = {"chunked_attention"};
                },
                "/layer_types/0", "full_attention or sliding_attention",
                "string \"chunked_attention\""},
        without("model_type"), without("hidden_size"), without("rms_norm_eps"),
        without("max_position_embeddings")),
    [](const auto& each) { return each.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Rope, ConfigRefused,
    ::testing::Values(
        with_rope("dynamic", {{"type", "dynamic"}, {"factor", 2.0}}, "/type",
                  "RoPE type default, linear, llama3 or yarn",
                  "string \"dynamic\""),
        with_rope("longrope", {{"rope_type", "longrope"}, {"factor", 2.0}},
                  "/rope_type", "RoPE type", "string \"longrope\""),
        with_rope("types_differ",
                  {{"rope_type", "yarn"}, {"type", "linear"}, {"factor", 2.0}},
                  "/type", "\"yarn\" as in rope_type", "string \"linear\""),
        with_rope("no_type", {{"factor", 2.0}}, "", "rope_type", "object"),
        with_rope("no_factor", {{"type", "linear"}}, "", "key \"factor\"",
                  "none"),
        with_rope("factor_below_one", {{"type", "linear"}, {"factor", 0.5}},
                  "/factor", "number of at least 1", "number 0.5"),
        with_rope("default_with_factor", {{"type", "default"}, {"factor", 2}},
                  "/factor", "no factor", "2"),
        with_rope("unknown_parameter",
                  {{"type", "linear"}, {"factor", 2}, {"mscale", 0.7}},
                  "/mscale", "one of the RoPE parameters", "another"),
        with_rope("llama3_bands",
                  {{"type", "llama3"},
                   {"factor", 8},
                   {"low_freq_factor", 4},
                   {"high_freq_factor", 4},
                   {"original_max_position_embeddings", 32}},
                  "/high_freq_factor", "number above low_freq_factor 4", "4"),
        with_rope("yarn_without_length", {{"type", "yarn"}, {"factor", 4}}, "",
                  "key \"original_max_position_embeddings\"", "none"),
        with_rope("untruncated_yarn",
                  {{"type", "yarn"},
                   {"factor", 4},
                   {"truncate", false},
                   {"original_max_position_embeddings", 32}},
                  "/truncate", "true", "false"),
        Refusal{"theta_differs",
                [](json& config) {
                  config["rope_parameters"] = {{"rope_theta", 500000.0}};
                },
                "/rope_parameters/rope_theta", "the same as /rope_theta",
                "number 500000"},
        Refusal{"theta_of_one", [](json& config) { config["rope_theta"] = 1; },
                "/rope_theta", "number above 1", "1"},
        Refusal{"both_spellings",
                [](json& config) {
                  config["rope_parameters"] = {{"rope_type", "default"}};
                  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
                },
                "/rope_scaling", "no rope_scaling beside rope_parameters",
                "object"}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace wush
