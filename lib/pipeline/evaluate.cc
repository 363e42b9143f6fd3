#include "lib/pipeline/evaluate.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "lib/metrics/summary.h"

namespace wush {
namespace {

double mean_of(const std::vector<double>& values, std::int64_t count) {
  return std::accumulate(values.begin(), values.begin() + count, 0.0) /
         static_cast<double>(count);
}

}  // namespace

std::int64_t logit_rows(std::int64_t vocab_size, std::int64_t length) {
  constexpr std::int64_t kLogitBytes = 64 << 20;
  const std::int64_t rows =
      kLogitBytes / (vocab_size * static_cast<std::int64_t>(sizeof(float)));
  return std::clamp<std::int64_t>(rows, 1, length);
}

HeadMeasurements evaluate_head(Device& device, const OutputHead& head,
                               MatrixView<const float> hidden,
                               const MatrixView<const float>* reference,
                               const Windows& windows, bool perplexity,
                               Progress& progress) {
  const auto length = static_cast<std::int64_t>(windows.front().size());
  const std::int64_t piece = logit_rows(head.vocab_size(), length);
  Matrix<float> logits(device, piece, head.vocab_size());
  Matrix<float> expected(device, reference != nullptr ? piece : 0,
                         head.vocab_size());
  const auto size = static_cast<std::size_t>(length);
  std::vector<double> nll(size), kl(size), agreement(size);
  std::vector<double> window_nll, window_kl, window_agreement;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    if (progress.stop_requested()) throw Interrupted();
    progress.step("evaluate", static_cast<std::int64_t>(w),
                  static_cast<std::int64_t>(windows.size()));
    // The last token of a window has no target; the first stands in for it and
    // its NLL is left out of the mean.
    std::vector<std::int32_t> targets(windows[w].begin() + 1, windows[w].end());
    targets.push_back(windows[w].front());
    for (std::int64_t row = 0; row < length; row += piece) {
      const std::int64_t rows = std::min(piece, length - row);
      const std::int64_t first = static_cast<std::int64_t>(w) * length + row;
      const auto part = logits.view().rows_from(0, rows);
      const auto at = static_cast<std::size_t>(row);
      const auto count = static_cast<std::size_t>(rows);
      head.forward(device, hidden.rows_from(first, rows), part);
      if (perplexity) {
        device.cross_entropy(part, std::span(targets).subspan(at, count),
                             std::span(nll).subspan(at, count));
      }
      if (reference == nullptr) continue;
      const auto reference_part = expected.view().rows_from(0, rows);
      head.forward(device, reference->rows_from(first, rows), reference_part);
      device.divergence(reference_part, part, std::span(kl).subspan(at, count),
                        std::span(agreement).subspan(at, count));
    }
    window_nll.push_back(mean_of(nll, length - 1));
    window_kl.push_back(mean_of(kl, length));
    window_agreement.push_back(mean_of(agreement, length));
  }
  HeadMeasurements result;
  if (perplexity) {
    result.perplexity = summarize_perplexity(length, std::move(window_nll));
  }
  if (reference != nullptr) {
    result.divergence =
        summarize_divergence(std::move(window_kl), std::move(window_agreement));
  }
  return result;
}

}  // namespace wush
