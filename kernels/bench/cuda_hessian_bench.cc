// Second moments on the device against cuBLAS computing the full product.
#include <cmath>
#include <string>

#include "kernels/bench/cuda_fill.h"
#include "kernels/bench/cuda_harness.h"
#include "kernels/cuda/hessian.h"
#include "kernels/numerics/bfloat16.h"

namespace wush::kernels::bench {
namespace {

using cuda::HessianKernel;

struct Shape {
  std::int64_t tokens, channels;
};

bool verified(const Shape& s, const DeviceArray<std::uint16_t>& x,
              const DeviceArray<float>& h) {
  for (const auto& [i, j] : {std::pair<std::int64_t, std::int64_t>{0, 0},
                             {s.channels - 1, s.channels - 1},
                             {s.channels - 1, 3},
                             {s.channels / 2 + 1, s.channels / 3}}) {
    const auto column = [&](std::int64_t c) {
      std::vector<std::uint16_t> bits(static_cast<std::size_t>(s.tokens));
      require(cudaMemcpy2D(bits.data(), 2, x.get() + c,
                           static_cast<std::size_t>(s.channels) * 2, 2,
                           bits.size(), cudaMemcpyDeviceToHost),
              "cudaMemcpy2D");
      return bits;
    };
    const auto a = column(i), b = column(j);
    double sum = 0, magnitude = 0;
    for (std::size_t t = 0; t < a.size(); ++t) {
      const double product =
          static_cast<double>(numerics::bfloat16_decode(a[t])) *
          static_cast<double>(numerics::bfloat16_decode(b[t]));
      sum += product;
      magnitude += std::abs(product);
    }
    float got = 0;
    require(cudaMemcpy(&got, h.get() + i * s.channels + j, 4,
                       cudaMemcpyDeviceToHost),
            "cudaMemcpy");
    if (!(std::abs(static_cast<double>(got) - sum) <= 1e-4 * magnitude)) {
      return false;
    }
  }
  return true;
}

void bench_hessian(benchmark::State& state, const Shape& s, bool compensated) {
  constexpr int kSets = 2;
  std::vector<DeviceArray<std::uint16_t>> x;
  for (int i = 0; i < kSets; ++i) {
    x.emplace_back(s.tokens * s.channels);
    require(fill_normal(x.back().get(), x.back().size(),
                        static_cast<std::uint64_t>(i), stream()));
  }
  const std::int64_t size = s.channels * s.channels;
  const DeviceArray<float> h(size), residual(size), full(size);
  for (const auto* matrix : {&h, &residual}) {
    require(cudaMemsetAsync(matrix->get(), 0,
                            static_cast<std::size_t>(size) * 4, stream()),
            "cudaMemset");
  }
  const Work ours = [&](int i) {
    require(cuda::accumulate_hessian(
        HessianKernel::kAuto, x[static_cast<std::size_t>(i)].get(), s.tokens,
        s.channels, h.get(), compensated ? residual.get() : nullptr, stream()));
  };
  const Work peer = [&](int i) {
    cublas_gram(x[static_cast<std::size_t>(i)].get(), full.get(), s.tokens,
                s.channels);
  };
  ours(0);
  require(cudaStreamSynchronize(stream()), "accumulate_hessian");
  if (!verified(s, x[0], h)) {
    state.SkipWithError("differs from the reference");
    return;
  }
  const auto timings = time_in_turn({ours, peer}, kSets);
  report(state, timings[0]);
  state.counters["cublas_us"] = timings[1].median * 1e6;
  state.counters["over_cublas"] = timings[1].median / timings[0].median;
  state.counters["half_TFLOP/s"] =
      static_cast<double>(s.tokens * size) / timings[0].median * 1e-12;
}

}  // namespace

void register_hessian_benchmarks() {
  for (const Shape& s : {Shape{8192, 4096}, Shape{8192, 14336}}) {
    for (const bool compensated : {false, true}) {
      const std::string name =
          std::string("hessian/") + (compensated ? "compensated" : "float32") +
          "/" + std::to_string(s.tokens) + "x" + std::to_string(s.channels);
      benchmark::RegisterBenchmark(name.c_str(),
                                   [=](benchmark::State& state) {
                                     bench_hessian(state, s, compensated);
                                   })
          ->UseManualTime()
          ->Iterations(1)
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace wush::kernels::bench
