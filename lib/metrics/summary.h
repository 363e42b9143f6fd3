// Statistics over windows of an evaluation text.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/results/cell.h"

namespace wush {

struct MeanAndError {
  double mean = 0;
  double standard_error = 0;  // of the mean; 0 for a single value
};

// Mean, and sample standard deviation / sqrt(n). values is not empty.
MeanAndError mean_and_error(const std::vector<double>& values);

// From the mean NLL (nats) of each window of `length` tokens: exp of the mean
// over windows, with the standard error that the windows' spread gives it.
Perplexity summarize_perplexity(std::int64_t length,
                                std::vector<double> window_nll);

// From each window's mean KL divergence (nats) and share of equal argmax.
Divergence summarize_divergence(std::vector<double> window_kl,
                                std::vector<double> window_agreement);

}  // namespace wush
