// config.json of a Hugging Face checkpoint: Llama, Mistral, Qwen2 and Qwen3.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace wush {

enum class Architecture { kLlama, kMistral, kQwen2, kQwen3 };

// The model_type of config.json: "llama", "mistral", "qwen2", "qwen3".
std::string_view architecture_name(Architecture architecture);

enum class RopeType { kDefault, kLinear, kLlama3, kYarn };

// "default", "linear", "llama3", "yarn".
std::string_view rope_type_name(RopeType type);

// Rotary position embedding. Fields that a type does not use keep their
// defaults.
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;                           // linear, llama3, yarn
  double low_freq_factor = 1.0;                  // llama3
  double high_freq_factor = 1.0;                 // llama3
  int64_t original_max_position_embeddings = 0;  // llama3, yarn; positions
  double attention_factor =
      1.0;                  // multiplies cos and sin; resolved for yarn, else 1
  double beta_fast = 32.0;  // yarn
  double beta_slow = 1.0;   // yarn
};

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string model_type;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;  // divides num_attention_heads
  int64_t head_dim = 0;  // even; heads * head_dim may differ from hidden_size
  int64_t vocab_size = 0;
  double rms_norm_eps = 0.0;
  int64_t max_position_embeddings = 0;
  bool tie_word_embeddings = false;  // lm_head is model.embed_tokens
  bool qkv_bias = false;             // q_proj, k_proj and v_proj have biases
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;  // RMS norm over each head of q and k before RoPE

  // Per decoder layer, in tokens: position i attends to i - window + 1 .. i;
  // 0 means to all positions up to i.
  std::vector<int64_t> sliding_window;

  std::vector<int64_t> bos_token_ids;  // empty when the config names none
  std::vector<int64_t> eos_token_ids;
  RopeConfig rope;

  int64_t query_size() const { return num_attention_heads * head_dim; }
  int64_t key_value_size() const { return num_key_value_heads * head_dim; }
};

// Reads and checks a config.json. Both spellings of RoPE are read: rope_theta
// with rope_scaling (transformers 4) and rope_parameters (transformers 5).
// Whatever would change the numbers and is not implemented is refused: other
// architectures, RoPE types and activations, partial rotation, quantization.
// Errors: InputError("config.json#/json/pointer: expected ..., found ...").
ModelConfig read_config(const std::filesystem::path& path);

// The same in two steps: the text of a config.json of at most 1 MiB, and what
// it says; `source` names it in messages.
std::string read_config_text(const std::filesystem::path& path);
ModelConfig parse_config(std::string_view text, const std::string& source);

// Radians per position for each pair (i, i + head_dim / 2); head_dim / 2
// values.
// - default: f_i = theta^(-2i / head_dim) (Su et al. 2021, arXiv:2104.09864)
// - linear: f_i / factor (Chen et al. 2023, arXiv:2306.15595)
// - llama3: f_i / factor for wavelengths above original / low_freq_factor, f_i
//   below original / high_freq_factor, interpolated between (Llama 3.1, 2024)
// - yarn: "NTK-by-parts" of Peng et al. 2023, arXiv:2309.00071, section 3.2
// cos and sin are to be multiplied by rope.attention_factor (yarn,
// section 3.4).
std::vector<double> rope_inverse_frequencies(const ModelConfig& config);

}  // namespace wush
