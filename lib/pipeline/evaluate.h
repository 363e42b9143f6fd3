// Perplexity and divergence from the hidden states behind the last block.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/device/device.h"
#include "lib/model/ends.h"
#include "lib/pipeline/progress.h"
#include "lib/results/cell.h"

namespace wush {

struct HeadMeasurements {
  std::optional<Perplexity> perplexity;
  std::optional<Divergence> divergence;
};

// hidden [windows * length, hidden_size] of the model that is measured. The NLL
// of a window is the mean over its length - 1 next-token targets. With
// `reference`, the same of the unquantized model, also the divergence, whose
// means are over all tokens of a window.
HeadMeasurements evaluate_head(Device& device, const OutputHead& head,
                               MatrixView<const float> hidden,
                               const MatrixView<const float>* reference,
                               const Windows& windows, bool perplexity,
                               Progress& progress);

// Rows of logits that evaluate_head() keeps at a time, for a memory estimate.
std::int64_t logit_rows(std::int64_t vocab_size, std::int64_t length);

}  // namespace wush
