// Float32 forward pass of a checkpoint against the matrix products in it.
//
// Usage: bench_forward [CHECKPOINT] [benchmark options]; without one the folder
// in WUSH_BENCH_CHECKPOINT, else experiments/demo/model. One thread.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "lib/checkpoint/checkpoint.h"
#include "lib/device/device.h"
#include "lib/model/decoder_block.h"
#include "lib/model/ends.h"
#include "lib/model/rotary.h"

namespace wush {
namespace {

constexpr std::int64_t kWindows = 8;
constexpr std::int64_t kLength = 512;
constexpr std::int64_t kQueries = 64;  // rows of one attention product

struct Product {
  std::int64_t rows, cols, depth, count;
  double operations() const {
    return 2.0 * static_cast<double>(rows * cols * depth * count);
  }
};

// The matrix products of one forward pass of all windows.
std::vector<Product> products(const ModelConfig& c) {
  const std::int64_t rows = kWindows * kLength;
  const std::int64_t blocks = c.num_hidden_layers;
  std::vector<Product> list = {
      {rows, c.query_size(), c.hidden_size, blocks},
      {rows, c.key_value_size(), c.hidden_size, 2 * blocks},
      {rows, c.hidden_size, c.query_size(), blocks},
      {rows, c.intermediate_size, c.hidden_size, 2 * blocks},
      {rows, c.hidden_size, c.intermediate_size, blocks},
      {rows, c.vocab_size, c.hidden_size, 1}};
  for (std::int64_t keys = kQueries; keys <= kLength; keys += kQueries) {
    const std::int64_t count = kWindows * c.num_attention_heads * blocks;
    list.push_back({kQueries, keys, c.head_dim, count});
    list.push_back({kQueries, c.head_dim, keys, count});
  }
  return list;
}

// Seconds that OpenBLAS takes for the same products, smallest of three.
double sgemm_seconds(const std::vector<Product>& list) {
  double total = 0;
  for (const Product& p : list) {
    const std::vector<float> a(static_cast<std::size_t>(p.rows * p.depth),
                               0.5f);
    const std::vector<float> b(static_cast<std::size_t>(p.cols * p.depth),
                               0.25f);
    std::vector<float> c(static_cast<std::size_t>(p.rows * p.cols));
    double best = std::numeric_limits<double>::infinity();
    for (int repeat = 0; repeat < 3; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      for (std::int64_t i = 0; i < p.count; ++i) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans,
                    static_cast<blasint>(p.rows), static_cast<blasint>(p.cols),
                    static_cast<blasint>(p.depth), 1.0f, a.data(),
                    static_cast<blasint>(p.depth), b.data(),
                    static_cast<blasint>(p.depth), 0.0f, c.data(),
                    static_cast<blasint>(p.cols));
        benchmark::ClobberMemory();
      }
      best = std::min(best, std::chrono::duration<double>(
                                std::chrono::steady_clock::now() - start)
                                .count());
    }
    total += best;
  }
  return total;
}

void forward(benchmark::State& state, const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const auto device = make_device("cpu", 1);
  Windows windows(kWindows, std::vector<std::int32_t>(kLength));
  for (std::size_t w = 0; w < windows.size(); ++w) {
    for (std::size_t i = 0; i < windows[w].size(); ++i) {
      windows[w][i] = static_cast<std::int32_t>(
          (w * 977 + i * 31) %
          static_cast<std::size_t>(checkpoint.config().vocab_size));
    }
  }
  const RotaryTable rotary(*device, checkpoint.config(), kLength);
  std::vector<DecoderBlock> blocks;
  for (std::int64_t i = 0; i < checkpoint.config().num_hidden_layers; ++i) {
    blocks.emplace_back(*device, checkpoint, i);
  }
  const OutputHead head(*device, checkpoint);
  const Matrix<float> embedded = embed(*device, checkpoint, windows);
  Matrix<float> hidden(*device, embedded.rows(), embedded.cols());
  Matrix<float> logits(*device, embedded.rows(), head.vocab_size());
  const std::vector<Product> list = products(checkpoint.config());
  double operations = 0;
  for (const Product& p : list) operations += p.operations();
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    copy(*device, embedded.view(), hidden.view());
    for (const DecoderBlock& block : blocks) {
      block.forward(*device, rotary, hidden.view());
    }
    head.forward(*device, hidden.view(), logits.view());
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    best = std::min(best, seconds);
    state.SetIterationTime(seconds);
  }
  if (device->find_non_finite(logits.view()) >= 0) {
    state.SkipWithError("logits are not finite");
    return;
  }
  const double ceiling = sgemm_seconds(list);
  state.counters["GFLOP/s"] = operations / best * 1e-9;
  state.counters["sgemm GFLOP/s"] = operations / ceiling * 1e-9;
  state.counters["share of sgemm"] = ceiling / best;
}

}  // namespace
}  // namespace wush

int main(int argc, char** argv) {
  const char* variable = std::getenv("WUSH_BENCH_CHECKPOINT");
  std::string path = variable != nullptr ? variable : "experiments/demo/model";
  benchmark::Initialize(&argc, argv);
  if (argc > 1) path = argv[1];
  benchmark::RegisterBenchmark(
      ("forward/" + path).c_str(),
      [path](benchmark::State& state) { wush::forward(state, path); })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond)
      ->Iterations(5);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
