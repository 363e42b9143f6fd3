// Random operands that a device can fill itself with and the host can look up.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace wush {

enum class Operand { kActivations, kWeights, kTransform };

// Standard normal values, each with a magnitude of at least 2^-10 and 8
// significand bits, so that float32, bfloat16 and float16 hold them exactly. A
// matrix takes them from its operand's start on, again and again: the period is
// a prime, so no two rows of a matrix are alike.
class RandomValues {
 public:
  static constexpr std::int64_t kPeriod = 1'000'003;

  explicit RandomValues(std::uint64_t seed);

  // The values of one period as this operand takes them.
  std::vector<float> period(Operand operand) const;
  // Element `index` of the row-major matrix.
  float at(Operand operand, std::int64_t index) const;

 private:
  std::vector<float> values_;  // [kPeriod]
};

}  // namespace wush
