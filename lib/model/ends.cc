#include "lib/model/ends.h"

#include "lib/checkpoint/tensor_names.h"
#include "lib/model/decoder_block.h"
#include "lib/model/rotary.h"
#include "lib/model/tensor_reader.h"

namespace wush {

Matrix<float> embed(Device& device, const Checkpoint& checkpoint,
                    const Windows& windows) {
  const ModelConfig& config = checkpoint.config();
  const auto length = static_cast<std::int64_t>(windows.front().size());
  Matrix<float> hidden(device,
                       static_cast<std::int64_t>(windows.size()) * length,
                       config.hidden_size);
  const Matrix<float> table =
      read_tensor(device, checkpoint, std::string(kEmbeddingName),
                  config.vocab_size, config.hidden_size);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    device.gather_rows(
        table.view(), windows[i],
        hidden.view().rows_from(static_cast<std::int64_t>(i) * length, length));
  }
  return hidden;
}

OutputHead::OutputHead(Device& device, const Checkpoint& checkpoint)
    : epsilon_(checkpoint.config().rms_norm_eps) {
  const ModelConfig& config = checkpoint.config();
  norm_ = read_tensor(device, checkpoint, std::string(kFinalNormName), 0,
                      config.hidden_size);
  const auto name = config.tie_word_embeddings ? kEmbeddingName : kHeadName;
  weight_ = read_tensor(device, checkpoint, std::string(name),
                        config.vocab_size, config.hidden_size);
}

void OutputHead::forward(Device& device, MatrixView<const float> hidden,
                         MatrixView<float> logits) const {
  Matrix<float> x(device, hidden.rows, hidden.cols);
  device.rms_norm(hidden, norm_.data(), epsilon_, x.view());
  device.linear(x.view(), weight_.view(), nullptr, logits);
}

std::vector<std::vector<float>> last_logits(Device& device,
                                            const Checkpoint& checkpoint,
                                            const Windows& windows) {
  const auto length = static_cast<std::int64_t>(windows.front().size());
  const RotaryTable rotary(device, checkpoint.config(), length);
  Matrix<float> hidden = embed(device, checkpoint, windows);
  for (std::int64_t layer = 0; layer < checkpoint.config().num_hidden_layers;
       ++layer) {
    const DecoderBlock block(device, checkpoint, layer);
    for (std::int64_t row = 0; row < hidden.rows(); row += length) {
      block.forward(device, rotary, hidden.view().rows_from(row, length));
    }
  }
  const OutputHead head(device, checkpoint);
  Matrix<float> logits(device, 1, head.vocab_size());
  std::vector<std::vector<float>> result;
  for (std::int64_t row = length - 1; row < hidden.rows(); row += length) {
    head.forward(device, hidden.view().rows_from(row, 1), logits.view());
    result.push_back(to_host(device, logits.view()));
  }
  return result;
}

}  // namespace wush
