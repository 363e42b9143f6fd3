#include "lib/model/rotary.h"

#include <cmath>
#include <vector>

namespace wush {

RotaryTable::RotaryTable(Device& device, const ModelConfig& config,
                         std::int64_t length)
    : cosines(device, length, config.head_dim / 2),
      sines(device, length, config.head_dim / 2) {
  const std::vector<double> frequencies = rope_inverse_frequencies(config);
  const double factor = config.rope.attention_factor;
  std::vector<float> cosine, sine;
  for (std::int64_t position = 0; position < length; ++position) {
    for (const double frequency : frequencies) {
      const float angle =
          static_cast<float>(position) * static_cast<float>(frequency);
      cosine.push_back(static_cast<float>(
          static_cast<float>(std::cos(static_cast<double>(angle))) * factor));
      sine.push_back(static_cast<float>(
          static_cast<float>(std::sin(static_cast<double>(angle))) * factor));
    }
  }
  to_device(device, cosine.data(), cosines.view());
  to_device(device, sine.data(), sines.view());
}

}  // namespace wush
