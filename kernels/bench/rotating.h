// Inputs for benchmarks: random, and larger than the caches in rotation.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace wush::kernels::bench {

inline constexpr std::int64_t kCols = 4096;

// Slabs of [rows, kCols] Gaussian values, together about 256 MB, handed out in
// turn: by the time one comes again it has left the caches.
template <class P>
class RotatingSlabs {
 public:
  static constexpr std::int64_t kBytes = 256 << 20;

  explicit RotatingSlabs(std::int64_t rows)
      : slab_(rows * kCols),
        values_(static_cast<std::size_t>(
            kBytes / static_cast<std::int64_t>(sizeof(P)))) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    // A table of Gaussians, read from a moving start: drawing all would take
    // longer than the benchmark.
    std::vector<P> table(65537);
    for (P& value : table) value = static_cast<P>(normal(random));
    for (std::size_t i = 0; i < values_.size(); ++i) {
      values_[i] = table[i % table.size()];
    }
  }

  const P* next() {
    const std::int64_t slabs =
        static_cast<std::int64_t>(values_.size()) / slab_;
    turn_ = (turn_ + 1) % slabs;
    return values_.data() + turn_ * slab_;
  }

 private:
  std::int64_t slab_;
  std::int64_t turn_ = 0;
  std::vector<P> values_;
};

}  // namespace wush::kernels::bench
