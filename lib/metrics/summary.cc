#include "lib/metrics/summary.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "lib/support/error.h"

namespace wush {

MeanAndError mean_and_error(const std::vector<double>& values) {
  WUSH_CHECK(!values.empty(), "the mean of no values");
  const auto count = static_cast<double>(values.size());
  MeanAndError result;
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) {
    squares += (value - result.mean) * (value - result.mean);
  }
  result.standard_error = std::sqrt(squares / (count - 1) / count);
  return result;
}

Perplexity summarize_perplexity(std::int64_t length,
                                std::vector<double> window_nll) {
  Perplexity result;
  const MeanAndError nll = mean_and_error(window_nll);
  result.length = length;
  result.window_nll = std::move(window_nll);
  result.value = std::exp(nll.mean);
  result.standard_error = result.value * nll.standard_error;
  return result;
}

Divergence summarize_divergence(std::vector<double> window_kl,
                                std::vector<double> window_agreement) {
  Divergence result;
  const MeanAndError kl = mean_and_error(window_kl);
  result.kl = kl.mean;
  result.kl_standard_error = kl.standard_error;
  result.agreement = mean_and_error(window_agreement).mean;
  result.window_kl = std::move(window_kl);
  result.window_agreement = std::move(window_agreement);
  return result;
}

}  // namespace wush
