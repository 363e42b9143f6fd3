// What stands before and behind the decoder blocks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/checkpoint/checkpoint.h"
#include "lib/device/device.h"

namespace wush {

// Windows of token ids, all of one length.
using Windows = std::vector<std::vector<std::int32_t>>;

// Embeddings of the windows' tokens, [windows * length, hidden_size]. Ids are
// below vocab_size (checked when a text is tokenized). The table is read,
// used and released.
Matrix<float> embed(Device& device, const Checkpoint& checkpoint,
                    const Windows& windows);

// Final norm and lm_head (the embedding where it is tied).
class OutputHead {
 public:
  OutputHead(Device& device, const Checkpoint& checkpoint);

  std::int64_t vocab_size() const { return weight_.rows(); }
  // hidden [rows, hidden_size] -> logits [rows, vocab_size].
  void forward(Device& device, MatrixView<const float> hidden,
               MatrixView<float> logits) const;

 private:
  Matrix<float> norm_;    // [1, hidden]
  Matrix<float> weight_;  // [vocabulary, hidden]
  double epsilon_;
};

// Logits [windows, vocab_size] of the last position of each window, through the
// whole model, one block's weights in memory at a time. The windows are all of
// one length.
std::vector<std::vector<float>> last_logits(Device& device,
                                            const Checkpoint& checkpoint,
                                            const Windows& windows);

}  // namespace wush
