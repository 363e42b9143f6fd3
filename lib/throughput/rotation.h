// Sets of buffers that paths are timed on in turn, so that operands come from
// memory and not from the cache.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace wush {

// More sets than any layer of interest needs; tiny ones then stay in the cache,
// and rotation_bytes says so.
inline constexpr std::int64_t kMostSets = 1024;

// How many sets of `set_bytes` leave `bytes` of cache behind: between 2 and
// `most`.
inline std::int64_t rotation_sets(std::int64_t bytes, std::int64_t set_bytes,
                                  std::int64_t most = kMostSets) {
  return std::clamp<std::int64_t>(bytes / set_bytes + 2, 2, most);
}

// The set that a rotation has come to.
template <class T>
T& turn_of(std::vector<T>& sets, std::int64_t turn) {
  return sets[static_cast<std::size_t>(turn) % sets.size()];
}
template <class T>
const T& turn_of(const std::vector<T>& sets, std::int64_t turn) {
  return sets[static_cast<std::size_t>(turn) % sets.size()];
}

}  // namespace wush
