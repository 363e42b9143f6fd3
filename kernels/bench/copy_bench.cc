// The ceiling of everything that streams: copying the same slabs.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "kernels/bench/rotating.h"

namespace wush::kernels::bench {
namespace {

// bytes_per_second counts the bytes read, as do the other benchmarks.
void copy_float(benchmark::State& state) {
  const std::int64_t rows = state.range(0);
  RotatingSlabs<float> slabs(rows);
  std::vector<float> out(static_cast<std::size_t>(rows * kCols));
  const auto bytes = static_cast<std::size_t>(rows * kCols) * sizeof(float);
  for (auto _ : state) {
    std::memcpy(out.data(), slabs.next(), bytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<std::int64_t>(bytes));
}
BENCHMARK(copy_float)->ArgName("rows")->Arg(64)->Arg(512);

// Reading alone: what a kernel that writes little is held against.
void read_float(benchmark::State& state) {
  const std::int64_t rows = state.range(0);
  RotatingSlabs<float> slabs(rows);
  const std::int64_t count = rows * kCols;
  for (auto _ : state) {
    const float* x = slabs.next();
    std::uint32_t sum[64] = {};
    for (std::int64_t i = 0; i < count; i += 64) {
      std::uint32_t bits[64];
      std::memcpy(bits, x + i, sizeof(bits));
      for (int j = 0; j < 64; ++j) sum[j] ^= bits[j];
    }
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * count *
                          static_cast<std::int64_t>(sizeof(float)));
}
BENCHMARK(read_float)->ArgName("rows")->Arg(64)->Arg(512);

}  // namespace
}  // namespace wush::kernels::bench

BENCHMARK_MAIN();
