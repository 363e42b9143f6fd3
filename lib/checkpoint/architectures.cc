#include "lib/checkpoint/architectures.h"

#include <algorithm>
#include <array>

namespace wush {
namespace {

struct Dimensions {
  std::string_view name;
  Architecture architecture;
  std::int64_t hidden, layers, heads, kv_heads, head_dim, inner, vocabulary;
  bool tied;
};

// From the config.json of each checkpoint.
constexpr std::array<Dimensions, 6> kArchitectures = {{
    {"Llama-3.2-3B-Instruct", Architecture::kLlama, 3072, 28, 24, 8, 128, 8192,
     128256, true},
    {"Llama-3.1-8B-Instruct", Architecture::kLlama, 4096, 32, 32, 8, 128, 14336,
     128256, false},
    {"Llama-3.1-70B", Architecture::kLlama, 8192, 80, 64, 8, 128, 28672, 128256,
     false},
    {"Qwen3-8B", Architecture::kQwen3, 4096, 36, 32, 8, 128, 12288, 151936,
     false},
    {"Qwen3-14B", Architecture::kQwen3, 5120, 40, 40, 8, 128, 17408, 151936,
     false},
    {"Qwen3-32B", Architecture::kQwen3, 5120, 64, 64, 8, 128, 25600, 151936,
     false},
}};

}  // namespace

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const Dimensions& known : kArchitectures) names.emplace_back(known.name);
  return names;
}

std::optional<ModelConfig> known_architecture(std::string_view name) {
  const auto known =
      std::find_if(kArchitectures.begin(), kArchitectures.end(),
                   [&](const Dimensions& d) { return d.name == name; });
  if (known == kArchitectures.end()) return std::nullopt;
  ModelConfig config;
  config.architecture = known->architecture;
  config.model_type = architecture_name(known->architecture);
  config.hidden_size = known->hidden;
  config.num_hidden_layers = known->layers;
  config.num_attention_heads = known->heads;
  config.num_key_value_heads = known->kv_heads;
  config.head_dim = known->head_dim;
  config.intermediate_size = known->inner;
  config.vocab_size = known->vocabulary;
  config.tie_word_embeddings = known->tied;
  config.qk_norm = known->architecture == Architecture::kQwen3;
  return config;
}

}  // namespace wush
