#include "lib/checkpoint/config.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "lib/checkpoint/config_rope.h"
#include "lib/support/error.h"
#include "lib/support/input_file.h"
#include "lib/support/json.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxWidth = 1 << 20;  // channels of any linear
constexpr int64_t kMaxHeads = 1 << 14;
constexpr int64_t kMaxHeadDim = 1 << 12;
constexpr int64_t kMaxVocabulary = 1 << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 32;

constexpr std::array kArchitectures = {
    Architecture::kLlama, Architecture::kMistral, Architecture::kQwen2,
    Architecture::kQwen3};

// The class that transformers builds for a causal language model.
std::string_view class_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kLlama:
      return "LlamaForCausalLM";
    case Architecture::kMistral:
      return "MistralForCausalLM";
    case Architecture::kQwen2:
      return "Qwen2ForCausalLM";
    case Architecture::kQwen3:
      return "Qwen3ForCausalLM";
  }
  return "";
}

bool boolean_or(const JsonValue& root, std::string_view key, bool absent) {
  const auto value = root.find_non_null(key);
  return value ? value->boolean() : absent;
}

Architecture read_architecture(const JsonValue& root) {
  const JsonValue type = root.at("model_type");
  for (const Architecture architecture : kArchitectures) {
    if (architecture_name(architecture) != type.string()) continue;
    if (const auto classes = root.find_non_null("architectures")) {
      for (const JsonValue& name : classes->elements()) {
        if (name.string() != class_name(architecture)) {
          name.fail(class_name(architecture));
        }
      }
    }
    return architecture;
  }
  type.fail("architecture llama, mistral, qwen2 or qwen3");
}

void check_not_quantized(const JsonValue& root) {
  for (const std::string_view key :
       {"quantization_config", "compression_config"}) {
    const auto value = root.find_non_null(key);
    if (!value) continue;
    const auto method =
        value->is_object() ? value->find("quant_method") : std::nullopt;
    throw InputError(
        value->where(),
        fmt::format("expected an unquantized checkpoint, found quantization {}",
                    method ? method->describe() : value->describe()));
  }
}

void check_activation(const JsonValue& root) {
  const auto activation = root.find_non_null("hidden_act");
  if (activation && activation->string() != "silu") {
    activation->fail("activation \"silu\"");
  }
}

void check_partial_rotation(const JsonValue& root) {
  const auto factor = root.find_non_null("partial_rotary_factor");
  if (factor && factor->number() != 1.0) {
    factor->fail("1: partial rotation is not implemented");
  }
}

void read_sizes(const JsonValue& root, ModelConfig& config) {
  config.hidden_size = root.at("hidden_size").integer_in(1, kMaxWidth);
  config.intermediate_size =
      root.at("intermediate_size").integer_in(1, kMaxWidth);
  config.num_hidden_layers =
      root.at("num_hidden_layers").integer_in(1, kMaxLayers);
  config.vocab_size = root.at("vocab_size").integer_in(1, kMaxVocabulary);
  config.max_position_embeddings =
      root.at("max_position_embeddings").integer_in(1, kMaxPositions);
  const JsonValue epsilon = root.at("rms_norm_eps");
  config.rms_norm_eps = epsilon.number();
  if (!(config.rms_norm_eps > 0.0 && config.rms_norm_eps < 1.0)) {
    epsilon.fail("number between 0 and 1");
  }
}

void read_heads(const JsonValue& root, ModelConfig& config) {
  const JsonValue heads = root.at("num_attention_heads");
  config.num_attention_heads = heads.integer_in(1, kMaxHeads);
  config.num_key_value_heads = config.num_attention_heads;
  if (const auto groups = root.find_non_null("num_key_value_heads")) {
    config.num_key_value_heads = groups->integer_in(1, kMaxHeads);
    if (config.num_attention_heads % config.num_key_value_heads != 0) {
      groups->fail(fmt::format("a divisor of num_attention_heads {}",
                               config.num_attention_heads));
    }
  }
  if (const auto dimension = root.find_non_null("head_dim")) {
    config.head_dim = dimension->integer_in(2, kMaxHeadDim);
    if (config.head_dim % 2 != 0) dimension->fail("an even integer");
  } else {
    config.head_dim = config.hidden_size / config.num_attention_heads;
    if (config.hidden_size % (2 * config.num_attention_heads) != 0) {
      heads.fail(fmt::format(
          "heads of an even width that fill hidden_size {} (no head_dim given)",
          config.hidden_size));
    }
  }
  if (config.query_size() > kMaxWidth) {
    heads.fail(fmt::format("at most {} channels in all heads of {}", kMaxWidth,
                           config.head_dim));
  }
}

// Biases and norms as the modelling code of each architecture has them;
// Mistral and Qwen2 do not ask the config.
void read_extras(const JsonValue& root, ModelConfig& config) {
  const bool attention_bias = boolean_or(root, "attention_bias", false);
  switch (config.architecture) {
    case Architecture::kLlama:
      config.qkv_bias = config.o_bias = attention_bias;
      config.mlp_bias = boolean_or(root, "mlp_bias", false);
      break;
    case Architecture::kMistral:
      break;
    case Architecture::kQwen2:
      config.qkv_bias = true;
      break;
    case Architecture::kQwen3:
      config.qkv_bias = config.o_bias = attention_bias;
      config.qk_norm = true;
      break;
  }
  config.tie_word_embeddings = boolean_or(root, "tie_word_embeddings", false);
}

// layer_types of the Qwen configs: which layers use the window. Empty: absent.
std::vector<bool> read_layer_types(const JsonValue& root,
                                   const ModelConfig& config) {
  const auto types = root.find_non_null("layer_types");
  if (!types) return {};
  const std::vector<JsonValue> elements = types->elements();
  if (static_cast<int64_t>(elements.size()) != config.num_hidden_layers) {
    types->fail(
        fmt::format("{} entries, one a layer", config.num_hidden_layers));
  }
  std::vector<bool> sliding;
  for (const JsonValue& element : elements) {
    const std::string_view type = element.string();
    if (type != "full_attention" && type != "sliding_attention") {
      element.fail("full_attention or sliding_attention");
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

int64_t read_window(const JsonValue& value) {
  return value.is_null() ? 0 : value.integer_in(1, kMaxPositions);
}

void read_sliding_window(const JsonValue& root, ModelConfig& config) {
  config.sliding_window.assign(static_cast<size_t>(config.num_hidden_layers),
                               0);
  if (config.architecture == Architecture::kLlama) {
    if (const auto value = root.find_non_null("sliding_window")) {
      value->fail("no window: llama attends to all positions");
    }
    return;
  }
  if (config.architecture == Architecture::kMistral) {
    // Absent is an error: transformers would then assume 4096.
    const int64_t window = read_window(root.at("sliding_window"));
    config.sliding_window.assign(config.sliding_window.size(), window);
    return;
  }
  const std::vector<bool> sliding = read_layer_types(root, config);
  if (!boolean_or(root, "use_sliding_window", false)) return;
  const int64_t window = read_window(root.at("sliding_window"));
  if (window == 0) return;
  int64_t first = 0;
  if (sliding.empty()) {
    first = root.at("max_window_layers").integer_in(0, kMaxLayers);
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const auto i = static_cast<size_t>(layer);
    const bool uses = sliding.empty() ? layer >= first : sliding[i];
    if (uses) config.sliding_window[i] = window;
  }
}

// An id, a list of ids, or null.
std::vector<int64_t> read_token_ids(const JsonValue& root, std::string_view key,
                                    int64_t vocab_size) {
  const auto value = root.find_non_null(key);
  if (!value) return {};
  if (!value->is_array()) return {value->integer_in(0, vocab_size - 1)};
  std::vector<int64_t> ids;
  for (const JsonValue& element : value->elements()) {
    ids.push_back(element.integer_in(0, vocab_size - 1));
  }
  return ids;
}

}  // namespace

std::string_view architecture_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kLlama:
      return "llama";
    case Architecture::kMistral:
      return "mistral";
    case Architecture::kQwen2:
      return "qwen2";
    case Architecture::kQwen3:
      return "qwen3";
  }
  return "";
}

ModelConfig parse_config(std::string_view text, const std::string& source) {
  const JsonDocument document = JsonDocument::parse(
      text, source, {.max_bytes = kMaxConfigBytes, .max_depth = 16});
  const JsonValue root = document.root();
  if (!root.is_object()) root.fail("object");
  ModelConfig config;
  config.architecture = read_architecture(root);
  config.model_type = root.at("model_type").string();
  check_not_quantized(root);
  check_activation(root);
  check_partial_rotation(root);
  read_sizes(root, config);
  read_heads(root, config);
  read_extras(root, config);
  read_sliding_window(root, config);
  config.bos_token_ids =
      read_token_ids(root, "bos_token_id", config.vocab_size);
  config.eos_token_ids =
      read_token_ids(root, "eos_token_id", config.vocab_size);
  config.rope = read_rope(root);
  return config;
}

std::string read_config_text(const std::filesystem::path& path) {
  return read_input_file(path, kMaxConfigBytes);
}

ModelConfig read_config(const std::filesystem::path& path) {
  return parse_config(read_config_text(path), path.string());
}

}  // namespace wush
