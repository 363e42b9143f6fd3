// Block transforms on one core: a matrix for each block, and the butterfly.
#include <benchmark/benchmark.h>

#include <bit>
#include <cmath>
#include <vector>

#include "kernels/bench/rotating.h"
#include "kernels/cpu/block_transform.h"

namespace wush::kernels::bench {
namespace {

constexpr std::int64_t kRows = 128;

std::vector<float> hadamard_matrices(std::int64_t block) {
  const std::int64_t blocks = kCols / block;
  std::vector<float> t(static_cast<std::size_t>(kCols * block));
  const auto value =
      static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
  for (std::int64_t i = 0; i < blocks * block * block; ++i) {
    const auto j = static_cast<std::uint64_t>(i / block % block);
    const auto k = static_cast<std::uint64_t>(i % block);
    t[static_cast<std::size_t>(i)] =
        std::popcount(j & k) % 2 == 0 ? value : -value;
  }
  return t;
}

// Whether the matrix product and the butterfly agree to rounding.
bool agree(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::fabs(a[i] - b[i]) > 1e-4f) return false;
  }
  return true;
}

void block_transform_slabs(benchmark::State& state) {
  const std::int64_t block = state.range(0), blocks = kCols / block;
  RotatingSlabs<float> slabs(kRows);
  const auto t = hadamard_matrices(block);
  const float* x = slabs.next();
  std::vector<float> y(static_cast<std::size_t>(kRows * kCols));
  std::vector<float> z(x, x + kRows * kCols);
  block_transform(x, kRows, blocks, block, kCols, t.data(), false, y.data(),
                  kCols);
  block_hadamard(z.data(), kRows, blocks, block, kCols);
  if (!agree(y, z)) {
    state.SkipWithError("differs from the butterfly");
    return;
  }
  for (auto _ : state) {
    block_transform(slabs.next(), kRows, blocks, block, kCols, t.data(), false,
                    y.data(), kCols);
    benchmark::ClobberMemory();
  }
  const std::int64_t count = state.iterations() * kRows * kCols;
  state.SetBytesProcessed(count * static_cast<std::int64_t>(sizeof(float)));
  state.counters["flops"] = benchmark::Counter(
      static_cast<double>(2 * count * block), benchmark::Counter::kIsRate);
}
BENCHMARK(block_transform_slabs)
    ->ArgName("K")
    ->Arg(16)
    ->Arg(32)
    ->Arg(64)
    ->Arg(128);

// In place: the slab is copied first, as a caller has to, and the copy counts.
void copy_and_hadamard_slabs(benchmark::State& state) {
  const std::int64_t block = state.range(0), blocks = kCols / block;
  RotatingSlabs<float> slabs(kRows);
  std::vector<float> y(static_cast<std::size_t>(kRows * kCols));
  for (auto _ : state) {
    const float* x = slabs.next();
    std::copy(x, x + kRows * kCols, y.data());
    block_hadamard(y.data(), kRows, blocks, block, kCols);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kRows * kCols *
                          static_cast<std::int64_t>(sizeof(float)));
}
BENCHMARK(copy_and_hadamard_slabs)
    ->ArgName("K")
    ->Arg(16)
    ->Arg(32)
    ->Arg(64)
    ->Arg(128);

}  // namespace
}  // namespace wush::kernels::bench
