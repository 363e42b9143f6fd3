// Shares of something countable, cheap to find on the device.
#pragma once

#include <cstdint>

namespace wush::kernels::cuda {

// `each` of something for all, one more for the first `more`.
struct Split {
  int each, more;

  Split() = default;
  constexpr Split(std::int64_t all, std::int64_t of)
      : each(static_cast<int>(all / of)), more(static_cast<int>(all % of)) {}
  constexpr int most() const { return each + (more > 0 ? 1 : 0); }
  constexpr std::int64_t first(int i) const {
    return std::int64_t{i} * each + (i < more ? i : more);
  }
  constexpr int count(int i) const { return each + (i < more ? 1 : 0); }
};

// a / b without a division, for a >= 0 and b > 0 with a * b < 2^31.
struct Divisor {
  std::uint32_t inverse;  // 2^31 / b, rounded up

  Divisor() = default;
  constexpr explicit Divisor(int b)
      : inverse(static_cast<std::uint32_t>(
            ((std::uint64_t{1} << 31) + static_cast<unsigned>(b) - 1) /
            static_cast<unsigned>(b))) {}
  constexpr int divide(int a) const {
    return static_cast<int>(
        std::uint64_t{static_cast<std::uint32_t>(a)} * inverse >> 31);
  }
};

}  // namespace wush::kernels::cuda
