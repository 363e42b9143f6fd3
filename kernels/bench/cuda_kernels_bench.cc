// Memory-bound CUDA kernels against the copy bandwidth. Every case checks a
// sample of its output before it is timed.
#include <cmath>
#include <cstdlib>
#include <string>

#include "kernels/bench/cuda_fill.h"
#include "kernels/bench/cuda_harness.h"
#include "kernels/cuda/block_transform.h"
#include "kernels/cuda/quantize.h"
#include "kernels/numerics/group_quantizer.h"

namespace wush::kernels::bench {
namespace {

using cuda::BlockTransform;
using cuda::DataType;
using numerics::Format;
using numerics::ScaleRule;

struct Shape {
  std::int64_t rows, cols;
};

std::string shape_name(const Shape& s) {
  return std::to_string(s.rows) + "x" + std::to_string(s.cols);
}

// Input sets of one shape and room for their results.
struct Sets {
  Shape shape;
  int count;
  std::vector<DeviceArray<std::uint16_t>> x, y;
  std::vector<DeviceArray<std::uint8_t>> codes, scales;

  explicit Sets(const Shape& s)
      : shape(s), count(rotation(s.rows * s.cols * 2)) {
    for (int i = 0; i < count; ++i) {
      const std::int64_t size = s.rows * s.cols;
      x.emplace_back(size);
      y.emplace_back(size);
      codes.emplace_back(size / 2);
      scales.emplace_back(size / 8);
      require(fill_normal(x.back().get(), size, static_cast<std::uint64_t>(i),
                          stream()));
    }
  }
  cuda::QuantizedOutput output(int i) const {
    const auto k = static_cast<std::size_t>(i);
    return {codes[k].get(), scales[k].get(), nullptr};
  }
  const std::uint16_t* input(int i) const {
    return x[static_cast<std::size_t>(i)].get();
  }
};

// The sets of the shape that is being measured; shapes come one after another.
Sets& sets_of(const Shape& shape) {
  static std::unique_ptr<Sets> sets;
  if (!sets || sets->shape.rows != shape.rows ||
      sets->shape.cols != shape.cols) {
    sets.reset();
    sets = std::make_unique<Sets>(shape);
    require(cudaStreamSynchronize(stream()), "fill");
  }
  return *sets;
}

double bytes_moved(const Shape& s, double bits_out) {
  return static_cast<double>(s.rows * s.cols) * (2.0 + bits_out / 8.0);
}

void report_bytes(benchmark::State& state, const Timing& timing, double bytes) {
  report(state, timing);
  const double rate = bytes / timing.median;
  state.counters["GB/s"] = rate * 1e-9;
  state.counters["of_copy"] = rate / copy_bandwidth();
}

// Codes and scales of the first groups of set 0 against the specification, for
// the values that were quantized.
void verify(benchmark::State& state, Format format, ScaleRule rule,
            const Sets& sets, const std::vector<float>& values) {
  const auto codes = sets.codes[0].host();
  const auto scales = sets.scales[0].host();
  numerics::dispatch_format(format, [&]<Format F>() {
    using Quantizer = numerics::GroupQuantizer<F, float>;
    for (std::size_t i = 0; i + Quantizer::kGroup <= values.size();
         i += Quantizer::kGroup) {
      std::uint8_t want[Quantizer::kGroup];
      const std::uint16_t scale =
          Quantizer{}.quantize(values.data() + i, rule, want);
      bool same =
          scales[i / Quantizer::kGroup *
                 static_cast<std::size_t>(Quantizer::kFormat.scale_bytes())] ==
          (scale & 255);
      for (std::size_t c = 0; c < Quantizer::kGroup; ++c) {
        same &= (codes[(i + c) / 2] >> (4 * (c % 2)) & 15) == want[c];
      }
      if (!same) state.SkipWithError("differs from the specification");
    }
  });
}

std::vector<float> leading_values(const DeviceArray<std::uint16_t>& x,
                                  std::int64_t count) {
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(count));
  require(
      cudaMemcpy(bits.data(), x.get(), bits.size() * 2, cudaMemcpyDeviceToHost),
      "cudaMemcpy");
  std::vector<float> values;
  for (const std::uint16_t b : bits) {
    values.push_back(numerics::bfloat16_decode(b));
  }
  return values;
}

void bench_copy(benchmark::State& state, const Shape& shape) {
  Sets& sets = sets_of(shape);
  const Work copy = [&](int i) {
    const auto k = static_cast<std::size_t>(i);
    require(
        cudaMemcpyAsync(sets.y[k].get(), sets.x[k].get(),
                        static_cast<std::size_t>(shape.rows * shape.cols) * 2,
                        cudaMemcpyDeviceToDevice, stream()),
        "cudaMemcpyAsync");
  };
  report_bytes(state, time_in_turn({copy}, sets.count).front(),
               bytes_moved(shape, 16));
}

void bench_quantize(benchmark::State& state, const Shape& shape, Format format,
                    ScaleRule rule, int hadamard) {
  Sets& sets = sets_of(shape);
  const Work work = [&](int i) {
    require(cuda::quantize(format, rule, 0, DataType::kBfloat16, sets.input(i),
                           shape.rows, shape.cols, hadamard, sets.output(i),
                           stream()));
  };
  work(0);
  require(cudaStreamSynchronize(stream()), "quantize");
  if (hadamard == 0) {
    verify(state, format, rule, sets, leading_values(sets.x[0], 65536));
  }
  report_bytes(
      state, time_in_turn({work}, sets.count).front(),
      bytes_moved(shape, numerics::describe(format).bits_per_element()));
}

void bench_dequantize(benchmark::State& state, const Shape& shape,
                      Format format) {
  Sets& sets = sets_of(shape);
  const Work work = [&](int i) {
    const auto k = static_cast<std::size_t>(i);
    require(cuda::dequantize(
        format, {sets.codes[k].get(), sets.scales[k].get(), shape.rows, 0},
        shape.cols, DataType::kBfloat16, sets.y[k].get(), stream()));
  };
  for (int i = 0; i < sets.count; ++i) {
    require(cuda::quantize(format, ScaleRule::kAbsMax, 0, DataType::kBfloat16,
                           sets.input(i), shape.rows, shape.cols, 0,
                           sets.output(i), stream()));
  }
  report_bytes(
      state, time_in_turn({work}, sets.count).front(),
      bytes_moved(shape, numerics::describe(format).bits_per_element()));
}

// Matrices for every block, or one.
DeviceArray<std::uint16_t> make_matrices(const Shape& shape, int block) {
  DeviceArray<std::uint16_t> t(shape.cols * block);
  require(fill_normal(t.get(), t.size(), 77, stream()));
  return t;
}

void bench_transform_quantize(benchmark::State& state, const Shape& shape,
                              Format format, ScaleRule rule, int block) {
  Sets& sets = sets_of(shape);
  const auto t = make_matrices(shape, block);
  const auto run = [&](bool shared) {
    return [&, shared](int i) {
      require(cuda::block_transform_quantize(
          {t.get(), block, shared}, format, rule, 0, DataType::kBfloat16,
          sets.input(i), shape.rows, shape.cols, sets.output(i), stream()));
    };
  };
  run(false)(0);
  const std::int64_t rows = 4;
  DeviceArray<float> y(rows * shape.cols);
  require(cuda::block_transform({t.get(), block, false}, sets.input(0), rows,
                                shape.cols, DataType::kFloat32, y.get(),
                                stream()));
  require(cudaStreamSynchronize(stream()), "transform");
  verify(state, format, rule, sets, y.host());
  const auto timings = time_in_turn({run(false), run(true)}, sets.count);
  report_bytes(
      state, timings[0],
      bytes_moved(shape, numerics::describe(format).bits_per_element()));
  state.counters["over_shared"] = timings[0].median / timings[1].median;
}

void bench_transform(benchmark::State& state, const Shape& shape, int block) {
  Sets& sets = sets_of(shape);
  const auto t = make_matrices(shape, block);
  const Work work = [&](int i) {
    const auto k = static_cast<std::size_t>(i);
    require(cuda::block_transform({t.get(), block, false}, sets.input(i),
                                  shape.rows, shape.cols, DataType::kBfloat16,
                                  sets.y[k].get(), stream()));
  };
  const Work copy = [&](int i) {
    const auto k = static_cast<std::size_t>(i);
    require(
        cudaMemcpyAsync(sets.y[k].get(), sets.x[k].get(),
                        static_cast<std::size_t>(shape.rows * shape.cols) * 2,
                        cudaMemcpyDeviceToDevice, stream()),
        "cudaMemcpyAsync");
  };
  const auto timings = time_in_turn({work, copy}, sets.count);
  report_bytes(state, timings[0], bytes_moved(shape, 16));
  state.counters["over_copy"] = timings[0].median / timings[1].median;
}

template <class F>
void add(const std::string& name, F&& f) {
  benchmark::RegisterBenchmark(name.c_str(), std::forward<F>(f))
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

void register_memory_benchmarks() {
  constexpr Format kFormats[] = {Format::kMxfp4, Format::kNvfp4, Format::kInt4};
  for (const Shape& s :
       {Shape{16384, 4096}, Shape{8192, 8192}, Shape{1024, 4096}}) {
    const std::string shape = shape_name(s);
    add("copy/" + shape, [=](benchmark::State& b) { bench_copy(b, s); });
    for (const Format f : kFormats) {
      const std::string name =
          std::string(numerics::describe(f).name) + "/" + shape;
      const int group = numerics::describe(f).group;
      for (int r = 0; r < 3; ++r) {
        const auto rule = static_cast<ScaleRule>(r);
        const std::string rule_name(
            numerics::kScaleRuleNames[static_cast<std::size_t>(r)]);
        add("quantize/" + name + "/" + rule_name,
            [=](benchmark::State& b) { bench_quantize(b, s, f, rule, 0); });
        add("transform_quantize/" + name + "/block" + std::to_string(group) +
                "/" + rule_name,
            [=](benchmark::State& b) {
              bench_transform_quantize(b, s, f, rule, group);
            });
      }
      for (const int block : {64, 128}) {
        add("transform_quantize/" + name + "/block" + std::to_string(block) +
                "/absmax",
            [=](benchmark::State& b) {
              bench_transform_quantize(b, s, f, ScaleRule::kAbsMax, block);
            });
      }
      add("hadamard_quantize/" + name, [=](benchmark::State& b) {
        bench_quantize(b, s, f, ScaleRule::kAbsMax, group);
      });
      add("dequantize/" + name,
          [=](benchmark::State& b) { bench_dequantize(b, s, f); });
    }
    for (const int block : {16, 32, 64, 128}) {
      add("transform/" + shape + "/block" + std::to_string(block),
          [=](benchmark::State& b) { bench_transform(b, s, block); });
    }
  }
}

}  // namespace wush::kernels::bench
