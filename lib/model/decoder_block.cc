#include "lib/model/decoder_block.h"

#include <fmt/format.h>

#include "lib/checkpoint/tensor_names.h"
#include "lib/model/tensor_reader.h"

namespace wush {
namespace {

// Output and input channels of a linear.
std::pair<std::int64_t, std::int64_t> linear_shape(const ModelConfig& config,
                                                   int index) {
  const std::int64_t hidden = config.hidden_size;
  switch (index) {
    case 0:
      return {config.query_size(), hidden};
    case 1:
    case 2:
      return {config.key_value_size(), hidden};
    case 3:
      return {hidden, config.query_size()};
    case 4:
    case 5:
      return {config.intermediate_size, hidden};
    default:
      return {hidden, config.intermediate_size};
  }
}

}  // namespace

DecoderBlock::DecoderBlock(Device& device, const Checkpoint& checkpoint,
                           std::int64_t layer) {
  const ModelConfig& config = checkpoint.config();
  shape_ = {0, config.num_attention_heads, config.num_key_value_heads,
            config.head_dim,
            config.sliding_window[static_cast<std::size_t>(layer)]};
  epsilon_ = config.rms_norm_eps;
  const auto vector = [&](const char* part, std::int64_t size) {
    return read_tensor(device, checkpoint, block_tensor_name(layer, part), 0,
                       size);
  };
  attention_norm_ = vector("input_layernorm.weight", config.hidden_size);
  mlp_norm_ = vector("post_attention_layernorm.weight", config.hidden_size);
  if (config.qk_norm) {
    q_norm_ = vector("self_attn.q_norm.weight", config.head_dim);
    k_norm_ = vector("self_attn.k_norm.weight", config.head_dim);
  }
  for (int i = 0; i < kLinearCount; ++i) {
    const LinearInfo& info = kLinears[static_cast<std::size_t>(i)];
    LinearLayer& target = linear(i);
    std::tie(target.out, target.in) = linear_shape(config, i);
    target.label = fmt::format("layer {}, {}", layer, info.name);
    const std::string name = block_tensor_name(layer, std::string(info.tensor));
    target.weight = read_tensor(device, checkpoint, name + ".weight",
                                target.out, target.in);
    const bool biased = info.site == InputSite::kAttention ? config.qkv_bias
                        : info.site == InputSite::kOutput  ? config.o_bias
                                                           : config.mlp_bias;
    if (biased) {
      target.bias =
          read_tensor(device, checkpoint, name + ".bias", 0, target.out);
    }
  }
}

void DecoderBlock::attention(Device& device, const RotaryTable& rotary,
                             MatrixView<float> hidden,
                             const InputHook& hook) const {
  const std::int64_t rows = hidden.rows;
  const std::int64_t query_size = shape_.heads * shape_.head_dim;
  const std::int64_t key_size = shape_.kv_heads * shape_.head_dim;
  Matrix<float> q(device, rows, query_size);
  Matrix<float> k(device, rows, key_size);
  Matrix<float> v(device, rows, key_size);
  {
    Matrix<float> x(device, rows, hidden.cols);
    device.rms_norm(hidden, attention_norm_.data(), epsilon_, x.view());
    if (hook) hook(InputSite::kAttention, x.view());
    linear(0).forward(device, x.view(), q.view());
    linear(1).forward(device, x.view(), k.view());
    linear(2).forward(device, x.view(), v.view());
  }
  if (!q_norm_.empty()) {
    const auto heads = q.view().reshaped(shape_.head_dim);
    const auto kv_heads = k.view().reshaped(shape_.head_dim);
    device.rms_norm(heads, q_norm_.data(), epsilon_, heads);
    device.rms_norm(kv_heads, k_norm_.data(), epsilon_, kv_heads);
  }
  device.rope(q.view(), shape_.heads, rotary.cosines.view(),
              rotary.sines.view());
  device.rope(k.view(), shape_.kv_heads, rotary.cosines.view(),
              rotary.sines.view());
  AttentionShape shape = shape_;
  shape.length = rotary.cosines.rows();
  Matrix<float> attended(device, rows, query_size);
  device.attention(q.view(), k.view(), v.view(), shape, attended.view());
  if (hook) hook(InputSite::kOutput, attended.view());
  Matrix<float> out(device, rows, hidden.cols);
  linear(3).forward(device, attended.view(), out.view());
  device.add(out.view(), hidden);
}

Matrix<float> DecoderBlock::gated(Device& device,
                                  MatrixView<const float> hidden,
                                  const InputHook& hook) const {
  Matrix<float> gate(device, hidden.rows, linear(4).out);
  Matrix<float> x(device, hidden.rows, hidden.cols);
  device.rms_norm(hidden, mlp_norm_.data(), epsilon_, x.view());
  if (hook) hook(InputSite::kMlp, x.view());
  Matrix<float> up(device, hidden.rows, linear(5).out);
  linear(4).forward(device, x.view(), gate.view());
  linear(5).forward(device, x.view(), up.view());
  device.silu_multiply(up.view(), gate.view());
  if (hook) hook(InputSite::kDown, gate.view());
  return gate;
}

void DecoderBlock::forward(Device& device, const RotaryTable& rotary,
                           MatrixView<float> hidden) const {
  attention(device, rotary, hidden, {});
  const Matrix<float> gate = gated(device, hidden, {});
  Matrix<float> out(device, hidden.rows, hidden.cols);
  linear(6).forward(device, gate.view(), out.view());
  device.add(out.view(), hidden);
}

void DecoderBlock::visit_inputs(Device& device, const RotaryTable& rotary,
                                MatrixView<float> hidden,
                                const InputHook& hook) const {
  attention(device, rotary, hidden, hook);
  gated(device, hidden, hook);
}

}  // namespace wush
