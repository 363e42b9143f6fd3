// Counter-based random numbers: Philox 4x32-10 (Salmon et al., SC 2011). Any
// number is a function of (key, counter), so results depend neither on the
// order in which they are drawn nor on threads.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace wush {

// One block of four 32-bit words.
std::array<std::uint32_t, 4> philox(const std::array<std::uint32_t, 4>& counter,
                                    const std::array<std::uint32_t, 2>& key);

// Number `index` of the standard normal sequence keyed by (seed, stream,
// block), through Box and Muller's transform in double.
double normal(std::uint64_t seed, std::uint64_t stream, std::uint32_t block,
              std::uint32_t index);

// A stream number for a purpose given in words (FNV-1a, 64 bits).
constexpr std::uint64_t stream_of(std::string_view words) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : words) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ull;
  }
  return hash;
}

}  // namespace wush
