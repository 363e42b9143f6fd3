// Names and shapes of the tensors that an architecture has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/checkpoint/config.h"

namespace wush {

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;  // linears: [output channels, input channels]
};

inline constexpr std::string_view kEmbeddingName = "model.embed_tokens.weight";
inline constexpr std::string_view kFinalNormName = "model.norm.weight";
inline constexpr std::string_view kHeadName = "lm_head.weight";

// "model.layers.{layer}.{part}", for example part "self_attn.q_proj.weight".
std::string block_tensor_name(int64_t layer, std::string_view part);

// The tensors of one decoder block: two norms, seven linears, and, where the
// architecture has them, biases and the norms of q and k.
std::vector<TensorSpec> block_tensors(const ModelConfig& config, int64_t layer);

// Those outside the blocks: embedding, final norm, and lm_head unless it is
// tied.
std::vector<TensorSpec> outer_tensors(const ModelConfig& config);

}  // namespace wush
