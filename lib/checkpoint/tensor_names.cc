#include "lib/checkpoint/tensor_names.h"

#include <fmt/format.h>

namespace wush {

std::string block_tensor_name(int64_t layer, std::string_view part) {
  return fmt::format("model.layers.{}.{}", layer, part);
}

std::vector<TensorSpec> block_tensors(const ModelConfig& config,
                                      int64_t layer) {
  std::vector<TensorSpec> tensors;
  const auto vector = [&](std::string_view part, int64_t size) {
    tensors.push_back({block_tensor_name(layer, part), {size}});
  };
  const auto linear = [&](std::string_view part, int64_t outputs,
                          int64_t inputs, bool bias) {
    tensors.push_back({block_tensor_name(layer, fmt::format("{}.weight", part)),
                       {outputs, inputs}});
    if (bias) vector(fmt::format("{}.bias", part), outputs);
  };
  const int64_t hidden = config.hidden_size;
  const int64_t query = config.query_size();
  const int64_t key_value = config.key_value_size();
  vector("input_layernorm.weight", hidden);
  linear("self_attn.q_proj", query, hidden, config.qkv_bias);
  linear("self_attn.k_proj", key_value, hidden, config.qkv_bias);
  linear("self_attn.v_proj", key_value, hidden, config.qkv_bias);
  linear("self_attn.o_proj", hidden, query, config.o_bias);
  if (config.qk_norm) {
    vector("self_attn.q_norm.weight", config.head_dim);
    vector("self_attn.k_norm.weight", config.head_dim);
  }
  vector("post_attention_layernorm.weight", hidden);
  linear("mlp.gate_proj", config.intermediate_size, hidden, config.mlp_bias);
  linear("mlp.up_proj", config.intermediate_size, hidden, config.mlp_bias);
  linear("mlp.down_proj", hidden, config.intermediate_size, config.mlp_bias);
  return tensors;
}

std::vector<TensorSpec> outer_tensors(const ModelConfig& config) {
  std::vector<TensorSpec> tensors = {
      {std::string(kEmbeddingName), {config.vocab_size, config.hidden_size}},
      {std::string(kFinalNormName), {config.hidden_size}}};
  if (!config.tie_word_embeddings) {
    tensors.push_back(
        {std::string(kHeadName), {config.vocab_size, config.hidden_size}});
  }
  return tensors;
}

}  // namespace wush
