// Solvers and transforms on one layer of an 8B model's width, on one thread,
// against dgemm calls of the same number of operations.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <vector>

#include "lib/device/device.h"
#include "lib/linalg/philox.h"
#include "lib/solver/solver.h"

namespace wush {
namespace {

constexpr std::int64_t kChannels = 4096;
constexpr std::int64_t kWidth = 32;

double seconds_of(const std::function<void()>& work, int repeats) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(
                              std::chrono::steady_clock::now() - start)
                              .count());
  }
  return best;
}

// Operations a second of dgemm with the depth that the solver's panels have.
double dgemm_rate() {
  constexpr int kSize = 2048, kDepth = 256;
  const std::vector<double> a(kSize * kDepth, 0.5), b(kSize * kDepth, 0.25);
  std::vector<double> c(kSize * kSize);
  const double seconds = seconds_of(
      [&] {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, kSize, kSize,
                    kDepth, 1, a.data(), kDepth, b.data(), kDepth, 1, c.data(),
                    kSize);
      },
      5);
  return 2.0 * kSize * kSize * kDepth / seconds;
}

Matrix<float> gaussian(Device& device, std::int64_t rows, std::int64_t cols,
                       std::uint64_t stream) {
  std::vector<float> host(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < host.size(); ++i) {
    host[i] = static_cast<float>(normal(1, stream,
                                        static_cast<std::uint32_t>(i >> 31),
                                        static_cast<std::uint32_t>(i)));
  }
  Matrix<float> matrix(device, rows, cols);
  to_device(device, host.data(), matrix.view());
  return matrix;
}

struct Layer {
  explicit Layer(const char* transform_name)
      : weight(gaussian(*device, kChannels, kChannels, 1)),
        transform(make_transform({transform_name, 1.0})) {
    const Matrix<float> x = gaussian(*device, 2 * kChannels, kChannels, 2);
    hessian.accumulate(*device, x.view());
    problem.weight = std::as_const(weight).view();
    problem.hessian = &hessian;
    problem.transform = transform.get();
    problem.width = kWidth;
    problem.label = "bench";
  }
  std::unique_ptr<Device> device = make_device("cpu", 1);
  Matrix<float> weight;
  Hessian hessian{*device, kChannels, kChannels};
  std::unique_ptr<Transform> transform;
  LinearProblem problem;
};

// Cholesky, the errors carried on, and per block: the compensation, the
// weights' moment, W T^-1, the recursion and Q T.
double gptq_operations() {
  const double n = kChannels, out = kChannels, k = kWidth;
  return n * n * n / 3 + out * n * n + 4 * 2 * out * n * k + out * n * k;
}

void report(benchmark::State& state, double operations, double seconds) {
  const double rate = dgemm_rate();
  state.counters["GFLOP/s"] = operations / seconds * 1e-9;
  state.counters["dgemm GFLOP/s"] = rate * 1e-9;
  state.counters["times dgemm"] = seconds / (operations / rate);
}

void gptq_wush(benchmark::State& state) {
  Layer layer("wush");
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    best = std::min(best,
                    seconds_of(
                        [&] {
                          benchmark::DoNotOptimize(solve_linear(
                              *layer.device, layer.problem, SolverKind::kGptq));
                        },
                        1));
  }
  report(state, gptq_operations(), best);
}
BENCHMARK(gptq_wush)->Unit(benchmark::kSecond)->Iterations(2);

// The closed form for all blocks of the layer: moments, fit, rounding, inverse.
void wush_fit(benchmark::State& state) {
  Layer layer("wush");
  Matrix<double> weight(*layer.device, kChannels, kWidth);
  Matrix<double> moment(*layer.device, kWidth, kWidth);
  for (auto _ : state) {
    for (std::int64_t first = 0; first < kChannels; first += kWidth) {
      layer.device->widen(layer.problem.weight.cols_from(first, kWidth),
                          weight.view());
      layer.device->gemm(1.0 / kChannels, Transpose::kYes,
                         std::as_const(weight).view(), Transpose::kNo,
                         std::as_const(weight).view(), 0, moment.view());
      const std::vector<double> host = to_host(*layer.device, moment.view());
      BlockMoments moments;
      moments.weight =
          Eigen::Map<const BlockMatrix>(host.data(), kWidth, kWidth);
      moments.activation =
          layer.hessian.diagonal_block(*layer.device, first, kWidth);
      benchmark::DoNotOptimize(store_block(
          layer.transform->fit(kWidth, &moments, {}), TransformType::kFloat32));
    }
  }
}
BENCHMARK(wush_fit)->Unit(benchmark::kSecond)->Iterations(3);

}  // namespace
}  // namespace wush

BENCHMARK_MAIN();
