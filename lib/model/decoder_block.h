// One decoder block of a Llama-like model: attention and gated MLP, each behind
// an RMS norm and added to the residual stream.
#pragma once

#include <array>
#include <functional>

#include "lib/checkpoint/checkpoint.h"
#include "lib/device/device.h"
#include "lib/model/linear_layer.h"
#include "lib/model/rotary.h"

namespace wush {

// Called with the input of the linears at a site, [rows, in], before they run.
using InputHook =
    std::function<void(InputSite site, MatrixView<const float> x)>;

class DecoderBlock {
 public:
  // Reads the block's weights to the device as float32. Throws InputError.
  DecoderBlock(Device& device, const Checkpoint& checkpoint,
               std::int64_t layer);

  // hidden [rows, hidden_size] in place; the rows are whole windows of
  // rotary.cosines.rows() tokens, one after another.
  void forward(Device& device, const RotaryTable& rotary,
               MatrixView<float> hidden) const;
  // Runs the block up to the input of its last linear, calling hook at every
  // site; hidden is left with the attention's output added.
  void visit_inputs(Device& device, const RotaryTable& rotary,
                    MatrixView<float> hidden, const InputHook& hook) const;

  LinearLayer& linear(int index) {
    return linears_[static_cast<std::size_t>(index)];
  }
  const LinearLayer& linear(int index) const {
    return linears_[static_cast<std::size_t>(index)];
  }

 private:
  void attention(Device& device, const RotaryTable& rotary,
                 MatrixView<float> hidden, const InputHook& hook) const;
  // silu(gate(x)) up(x) [rows, intermediate] of the normed hidden state.
  Matrix<float> gated(Device& device, MatrixView<const float> hidden,
                      const InputHook& hook) const;

  AttentionShape shape_;  // length is set by the table
  double epsilon_ = 0;
  Matrix<float> attention_norm_, mlp_norm_;  // [1, hidden]
  Matrix<float> q_norm_, k_norm_;            // [1, head_dim] or empty
  std::array<LinearLayer, kLinearCount> linears_;
};

}  // namespace wush
