// FP4 matrix products on the device against cuBLAS bfloat16, over the nine
// layers of the paper's figure 2: the product alone, and with the activations'
// transform and quantization before it.
#include <cmath>
#include <string>

#include "kernels/bench/cuda_fill.h"
#include "kernels/bench/cuda_harness.h"
#include "kernels/cuda/block_transform.h"
#include "kernels/cuda/fp4_matmul.h"
#include "kernels/cuda/quantize.h"
#include "kernels/numerics/group_quantizer.h"

namespace wush::kernels::bench {
namespace {

using cuda::DataType;
using cuda::MatmulKernel;
using numerics::Format;
using numerics::ScaleRule;

struct Layer {
  std::int64_t features, cols;
};

constexpr Layer kLayers[] = {
    {4096, 4096}, {24576, 4096}, {4096, 12288},   // Qwen3-8B
    {5120, 5120}, {34816, 5120}, {5120, 17408},   // Qwen3-14B
    {8192, 8192}, {57344, 8192}, {8192, 28672}};  // Llama-3.1-70B

struct Packed {
  DeviceArray<std::uint8_t> codes, scales;
  std::int64_t rows = 0;

  Packed(Format format, const std::uint16_t* x, std::int64_t r,
         std::int64_t cols)
      : codes(r * cols / 2), scales(r * cols / 8), rows(r) {
    require(cuda::quantize(format, ScaleRule::kAbsMax, 0, DataType::kBfloat16,
                           x, rows, cols, 0,
                           {codes.get(), scales.get(), nullptr}, stream()));
  }
  cuda::QuantizedMatrix view(bool settled) const {
    return {codes.get(), scales.get(), rows, 0, settled};
  }
};

// One set of weights and activations, in bfloat16 and packed.
struct Set {
  DeviceArray<std::uint16_t> w, x, y;
  Packed packed_w, packed_x;

  static DeviceArray<std::uint16_t> normal(std::int64_t size,
                                           std::uint64_t seed) {
    DeviceArray<std::uint16_t> values(size);
    require(fill_normal(values.get(), size, seed, stream()));
    return values;
  }
  Set(Format format, const Layer& layer, std::int64_t tokens,
      std::uint64_t seed)
      : w(normal(layer.features * layer.cols, 2 * seed)),
        x(normal(tokens * layer.cols, 2 * seed + 1)),
        y(tokens * layer.features),
        packed_w(format, w.get(), layer.features, layer.cols),
        packed_x(format, x.get(), tokens, layer.cols) {}
};

// Sixty-four outputs of set 0 against sums in double.
bool verified(Format format, const Layer& layer, std::int64_t tokens,
              const Set& set) {
  const auto host_row = [&](const Packed& m, std::int64_t row) {
    std::vector<double> values;
    numerics::dispatch_format(format, [&]<Format F>() {
      using Quantizer = numerics::GroupQuantizer<F, double>;
      const std::int64_t groups = layer.cols / Quantizer::kGroup;
      const int bytes = Quantizer::kFormat.scale_bytes();
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(layer.cols / 2));
      std::vector<std::uint8_t> scales(
          static_cast<std::size_t>(groups * bytes));
      require(cudaMemcpy(codes.data(), m.codes.get() + row * layer.cols / 2,
                         codes.size(), cudaMemcpyDeviceToHost),
              "cudaMemcpy");
      require(cudaMemcpy(scales.data(), m.scales.get() + row * groups * bytes,
                         scales.size(), cudaMemcpyDeviceToHost),
              "cudaMemcpy");
      for (std::size_t i = 0; i < codes.size() * 2; ++i) {
        const std::size_t g = i / Quantizer::kGroup;
        const auto scale = static_cast<std::uint16_t>(
            bytes == 1 ? scales[g] : scales[2 * g] | scales[2 * g + 1] << 8);
        const auto code =
            static_cast<std::uint8_t>(codes[i / 2] >> (4 * (i % 2)) & 15);
        values.push_back(Quantizer::element(code) *
                         Quantizer{}.decode_multiplier(scale));
      }
    });
    return values;
  };
  for (std::int64_t i = 0; i < 8; ++i) {
    const std::int64_t n = (i * 7919 + 5) % layer.features;
    const auto w = host_row(set.packed_w, n);
    for (std::int64_t j = 0; j < 8; ++j) {
      const std::int64_t m = (j * 104729 + 3) % tokens;
      const auto x = host_row(set.packed_x, m);
      double sum = 0, magnitude = 0;
      for (std::size_t k = 0; k < x.size(); ++k) {
        sum += x[k] * w[k];
        magnitude += std::abs(x[k] * w[k]);
      }
      std::uint16_t bits = 0;
      require(cudaMemcpy(&bits, set.y.get() + m * layer.features + n, 2,
                         cudaMemcpyDeviceToHost),
              "cudaMemcpy");
      const double got = static_cast<double>(numerics::bfloat16_decode(bits));
      const double tolerance =
          std::abs(sum) * 0x1p-8 +
          magnitude * (format == Format::kInt4 ? 0x1p-8 : 0x1p-13);
      if (!(std::abs(got - sum) <= tolerance)) return false;
    }
  }
  return true;
}

void bench_matmul(benchmark::State& state, Format format, const Layer& layer,
                  std::int64_t tokens) {
  const double bits = numerics::describe(format).bits_per_element();
  const double packed_bytes =
      static_cast<double>(layer.features * layer.cols) * bits / 8;
  const int count = rotation(static_cast<std::int64_t>(packed_bytes));
  std::vector<Set> sets;
  for (int i = 0; i < count; ++i) {
    sets.emplace_back(format, layer, tokens, static_cast<std::uint64_t>(i));
  }
  require(cudaStreamSynchronize(stream()), "quantize");  // settles the weights
  std::int64_t bytes = 0;
  require(cuda::fp4_matmul_workspace(MatmulKernel::kAuto, format, tokens,
                                     layer.features, layer.cols, &bytes));
  const DeviceArray<std::uint8_t> workspace(bytes);
  const auto multiply = [&](const Set& s) {
    require(cuda::fp4_matmul(MatmulKernel::kAuto, format, layer.cols,
                             s.packed_x.view(false), s.packed_w.view(true),
                             {DataType::kBfloat16, s.y.get(), nullptr},
                             workspace.get(), bytes, stream()));
  };
  const int block = numerics::describe(format).group;
  const auto t = Set::normal(layer.cols * block, 99);
  const Work ours = [&](int i) { multiply(sets[static_cast<std::size_t>(i)]); };
  const Work peer = [&](int i) {
    const Set& s = sets[static_cast<std::size_t>(i)];
    cublas_matmul(s.x.get(), s.w.get(), s.y.get(), tokens, layer.features,
                  layer.cols);
  };
  const Work with_wush = [&](int i) {
    const Set& s = sets[static_cast<std::size_t>(i)];
    require(cuda::block_transform_quantize(
        {t.get(), block, false}, format, ScaleRule::kAbsMax, 0,
        DataType::kBfloat16, s.x.get(), tokens, layer.cols,
        {s.packed_x.codes.get(), s.packed_x.scales.get(), nullptr}, stream()));
    multiply(s);
  };
  ours(0);
  require(cudaStreamSynchronize(stream()), "fp4_matmul");
  if (!verified(format, layer, tokens, sets[0])) {
    state.SkipWithError("differs from the reference");
    return;
  }
  std::vector<Work> works = {ours, peer};
  if (tokens == 1024) works.push_back(with_wush);
  const auto timings = time_in_turn(works, count);
  report(state, timings[0]);
  const double operations =
      2.0 * static_cast<double>(tokens * layer.features * layer.cols);
  state.counters["TFLOP/s"] = operations / timings[0].median * 1e-12;
  state.counters["cublas_us"] = timings[1].median * 1e6;
  state.counters["cublas_TFLOP/s"] = operations / timings[1].median * 1e-12;
  state.counters["over_cublas"] = timings[1].median / timings[0].median;
  state.counters["of_bandwidth"] =
      packed_bytes / timings[0].median / copy_bandwidth();
  if (works.size() == 3) {
    state.counters["wush_adds_%"] =
        100 * (timings[2].median / timings[0].median - 1);
    state.counters["wush_over_cublas"] = timings[1].median / timings[2].median;
  }
}

}  // namespace

void register_matmul_benchmarks() {
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    for (const std::int64_t tokens :
         {1, 8, 16, 32, 64, 128, 1024, 4096, 8192}) {
      for (const Layer& layer : kLayers) {
        const std::string name =
            "matmul/" + std::string(numerics::describe(format).name) + "/M" +
            std::to_string(tokens) + "/" + std::to_string(layer.features) +
            "x" + std::to_string(layer.cols);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [=](benchmark::State& state) {
                                       bench_matmul(state, format, layer,
                                                    tokens);
                                     })
            ->UseManualTime()
            ->Iterations(1)
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

}  // namespace wush::kernels::bench
