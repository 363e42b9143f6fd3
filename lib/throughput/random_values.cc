#include "lib/throughput/random_values.h"

#include <algorithm>
#include <cmath>

#include "kernels/numerics/bfloat16.h"
#include "lib/linalg/philox.h"

namespace wush {
namespace {

constexpr float kSmallest = 0x1p-10f;

std::int64_t start_of(Operand operand) {
  return static_cast<std::int64_t>(operand) * (RandomValues::kPeriod / 3);
}

}  // namespace

RandomValues::RandomValues(std::uint64_t seed) {
  values_.reserve(kPeriod);
  for (std::uint32_t i = 0; values_.size() < kPeriod; ++i) {
    const double drawn = normal(seed, stream_of("throughput"), 0, i);
    const float value =
        numerics::bfloat16_decode(numerics::bfloat16_encode(drawn));
    if (std::abs(value) >= kSmallest) values_.push_back(value);
  }
}

std::vector<float> RandomValues::period(Operand operand) const {
  std::vector<float> values(values_.size());
  std::rotate_copy(values_.begin(), values_.begin() + start_of(operand),
                   values_.end(), values.begin());
  return values;
}

float RandomValues::at(Operand operand, std::int64_t index) const {
  return values_[static_cast<std::size_t>((start_of(operand) + index) %
                                          kPeriod)];
}

}  // namespace wush
