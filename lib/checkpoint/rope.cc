// Inverse frequencies of rotary position embeddings.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "lib/checkpoint/config.h"

namespace wush {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

double llama3_frequency(double frequency, const RopeConfig& rope) {
  const auto length =
      static_cast<double>(rope.original_max_position_embeddings);
  const double wavelength = kTwoPi / frequency;
  if (wavelength < length / rope.high_freq_factor) return frequency;
  if (wavelength > length / rope.low_freq_factor)
    return frequency / rope.factor;
  const double smooth = (length / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - smooth) * frequency / rope.factor + smooth * frequency;
}

// The pair, as a real number, that turns `rotations` times within the original
// length: arXiv:2309.00071, solved for d from lambda_d = length / rotations.
double yarn_pair(double rotations, int64_t head_dim, const RopeConfig& rope) {
  const auto length =
      static_cast<double>(rope.original_max_position_embeddings);
  return static_cast<double>(head_dim) *
         std::log(length / (rotations * kTwoPi)) / (2.0 * std::log(rope.theta));
}

// Pairs below `low` keep their frequency, those above `high` are interpolated.
struct YarnRamp {
  double low;
  double high;
};

YarnRamp yarn_ramp(int64_t head_dim, const RopeConfig& rope) {
  YarnRamp ramp{
      std::max(std::floor(yarn_pair(rope.beta_fast, head_dim, rope)), 0.0),
      std::min(std::ceil(yarn_pair(rope.beta_slow, head_dim, rope)),
               static_cast<double>(head_dim - 1))};
  if (ramp.low == ramp.high) ramp.high += 0.001;  // as the reference does
  return ramp;
}

}  // namespace

std::vector<double> rope_inverse_frequencies(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  const auto pairs = static_cast<size_t>(config.head_dim / 2);
  const YarnRamp ramp = rope.type == RopeType::kYarn
                            ? yarn_ramp(config.head_dim, rope)
                            : YarnRamp{0.0, 1.0};
  std::vector<double> frequencies(pairs);
  for (size_t i = 0; i < pairs; ++i) {
    const double exponent =
        2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
    const double frequency = std::pow(rope.theta, -exponent);
    switch (rope.type) {
      case RopeType::kDefault:
        frequencies[i] = frequency;
        break;
      case RopeType::kLinear:
        frequencies[i] = frequency / rope.factor;
        break;
      case RopeType::kLlama3:
        frequencies[i] = llama3_frequency(frequency, rope);
        break;
      case RopeType::kYarn: {
        const double interpolated = std::clamp(
            (static_cast<double>(i) - ramp.low) / (ramp.high - ramp.low), 0.0,
            1.0);
        frequencies[i] = frequency * (1.0 - interpolated) +
                         frequency / rope.factor * interpolated;
        break;
      }
    }
  }
  return frequencies;
}

}  // namespace wush
