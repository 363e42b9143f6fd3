#include "lib/metrics/storage.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "lib/support/error.h"

namespace wush {
namespace {

constexpr std::int64_t kUnquantizedBytes = 2;  // bfloat16

struct LinearShape {
  std::string_view name;
  std::int64_t out;
  std::int64_t in;
  bool bias;
  bool shares_transform;  // when fused: uses that of the linear before it
};

std::array<LinearShape, 7> linears(const ModelConfig& config) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t queries = config.query_size();
  const std::int64_t keys = config.key_value_size();
  const std::int64_t inner = config.intermediate_size;
  return {{{"q_proj", queries, hidden, config.qkv_bias, false},
           {"k_proj", keys, hidden, config.qkv_bias, true},
           {"v_proj", keys, hidden, config.qkv_bias, true},
           {"o_proj", hidden, queries, config.o_bias, false},
           {"gate_proj", inner, hidden, config.mlp_bias, false},
           {"up_proj", inner, hidden, config.mlp_bias, true},
           {"down_proj", hidden, inner, config.mlp_bias, false}}};
}

void check_divides(std::int64_t block, const LinearShape& linear,
                   std::string_view what) {
  if (linear.in % block != 0) {
    throw InputError(
        std::string(linear.name),
        fmt::format("expected an input width that is a multiple of the {} of "
                    "{} channels, found {}",
                    what, block, linear.in));
  }
}

// Everything of one decoder block but its linears' weights, in values.
std::int64_t block_values(const ModelConfig& config) {
  std::int64_t values = 2 * config.hidden_size;
  if (config.qk_norm) values += 2 * config.head_dim;
  for (const LinearShape& linear : linears(config)) {
    if (linear.bias) values += linear.out;
  }
  return values;
}

}  // namespace

double CheckpointStorage::bits_per_weight() const {
  return 8.0 * static_cast<double>(code_bytes + scale_bytes) /
         static_cast<double>(quantized_weights);
}

double CheckpointStorage::bits_per_weight_with_transforms() const {
  return 8.0 * static_cast<double>(code_bytes + scale_bytes + transform_bytes) /
         static_cast<double>(quantized_weights);
}

double CheckpointStorage::transform_percent() const {
  return 100.0 * static_cast<double>(transform_bytes) /
         static_cast<double>(checkpoint_bytes());
}

CheckpointStorage checkpoint_storage(const ModelConfig& config,
                                     numerics::Format format,
                                     const StorageOptions& options) {
  const numerics::BlockFormat& block_format = numerics::describe(format);
  const std::int64_t group = block_format.group;
  const std::int64_t span =
      options.transform_block == 0 ? group : options.transform_block;
  const std::int64_t value_bytes =
      options.transform_dtype == TransformType::kFloat32 ? 4 : 2;
  CheckpointStorage block;
  for (const LinearShape& linear : linears(config)) {
    check_divides(group, linear, "group");
    check_divides(span, linear, "transform block");
    const std::int64_t weights = linear.out * linear.in;
    block.quantized_weights += weights;
    block.code_bytes += weights / 2;
    block.scale_bytes += weights / group * block_format.scale_bytes();
    if (!(options.fuse && linear.shares_transform)) {
      block.transform_bytes += linear.in * span * value_bytes;
    }
  }
  const std::int64_t layers = config.num_hidden_layers;
  const std::int64_t embeddings = config.tie_word_embeddings ? 1 : 2;
  CheckpointStorage storage;
  storage.quantized_weights = layers * block.quantized_weights;
  storage.code_bytes = layers * block.code_bytes;
  storage.scale_bytes = layers * block.scale_bytes;
  storage.transform_bytes = layers * block.transform_bytes;
  storage.unquantized_bytes =
      kUnquantizedBytes * (embeddings * config.vocab_size * config.hidden_size +
                           config.hidden_size + layers * block_values(config));
  return storage;
}

}  // namespace wush
