#include "lib/throughput/cpu_backend.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "lib/device/cpu/cpu_device.h"
#include "lib/linalg/block_math.h"
#include "lib/support/error.h"
#include "lib/throughput/rotation.h"

namespace wush {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kFloat = sizeof(float);

std::int64_t packed_bytes(const LinearProblem& problem, std::int64_t rows) {
  const double bits = numerics::describe(*problem.format).bits_per_element();
  return static_cast<std::int64_t>(bits / 8 *
                                   static_cast<double>(rows * problem.inputs));
}

struct SetCounts {
  std::int64_t dense = 0;   // weights in float32
  std::int64_t packed = 0;  // weights, packed
  std::int64_t inputs = 0;  // activations and outputs
};

SetCounts count_sets(const LinearProblem& problem, std::int64_t cache) {
  SetCounts counts;
  counts.dense =
      rotation_sets(cache, problem.outputs * problem.inputs * kFloat);
  if (problem.format) {
    counts.packed =
        rotation_sets(cache, packed_bytes(problem, problem.outputs));
  }
  counts.inputs = rotation_sets(
      cache, problem.tokens * (problem.inputs + problem.outputs) * kFloat,
      std::max(counts.dense, counts.packed));
  return counts;
}

class CpuThroughputBackend final : public ThroughputBackend {
 public:
  explicit CpuThroughputBackend(int threads) : device_(threads) {
    cache_bytes_ = std::max(::sysconf(_SC_LEVEL3_CACHE_SIZE),
                            ::sysconf(_SC_LEVEL2_CACHE_SIZE));
    if (cache_bytes_ <= 0) {
      throw DeviceError(
          "device \"cpu\": the system does not say how large its caches are");
    }
  }

  std::string name() const override { return "cpu"; }
  std::string device() const override {
    const std::string text = device_.description();
    return fmt::format("{}, {} threads", text.substr(0, text.find(';')),
                       device_.threads());
  }
  std::string description() const override { return device_.description(); }
  std::map<std::string, DataValue> attributes() const override {
    return {{"baseline", std::string("OpenBLAS sgemm, one tile a thread")},
            {"matmul", std::string("both operands decoded to float32, then "
                                   "OpenBLAS sgemm")},
            {"libraries", device_.description()},
            {"threads", std::int64_t{device_.threads()}}};
  }
  std::vector<std::string> baselines() const override { return {"float32"}; }
  std::int64_t cache_bytes() const override { return cache_bytes_; }

  std::int64_t predict_bytes(const LinearProblem& problem) const override {
    const SetCounts counts = count_sets(problem, cache_bytes_);
    const std::int64_t dense = problem.outputs * problem.inputs * kFloat;
    const std::int64_t x = problem.tokens * problem.inputs * kFloat;
    const std::int64_t y = problem.tokens * problem.outputs * kFloat;
    std::int64_t bytes = counts.dense * dense + counts.inputs * (x + y);
    if (!problem.format) return bytes;
    bytes += counts.packed * packed_bytes(problem, problem.outputs) +
             counts.inputs * packed_bytes(problem, problem.tokens);
    return bytes + dense + 2 * x;  // decoded operands, transformed activations
  }

  double copy_bandwidth() override;
  Rotation prepare(const LinearProblem& problem,
                   const RandomValues& values) override;
  void run(const std::string& path) override { compute(path, 0); }
  std::vector<float> output(std::int64_t token) override {
    const float* row = outputs_[0].view().row(token);
    return {row, row + problem_.outputs};
  }
  PackedRow packed_activations(std::int64_t token) override {
    const PackedView row = packed_inputs_[0].view().rows_from(token, 1);
    return {{row.codes, row.codes + row.code_bytes()},
            {row.scales, row.scales + row.scale_bytes()}};
  }
  // Sums of `inputs` products in float32; 4 more roundings in decoding both
  // operands.
  RoundingBound rounding(const std::string&) const override {
    return {0x1p-24, static_cast<double>(problem_.inputs + 8) * 0x1p-24};
  }
  double time(const std::string& path) override {
    const auto start = Clock::now();
    compute(path, ++turn_);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  Matrix<float> make_matrix(const RandomValues& values, Operand operand,
                            std::int64_t rows, std::int64_t cols);
  std::vector<Matrix<float>> make_sets(const RandomValues& values,
                                       Operand operand, std::int64_t rows,
                                       std::int64_t cols, std::int64_t count);
  void pack(const LinearProblem& problem, const SetCounts& counts);
  void prepare_transforms(const RandomValues& values);
  void compute(const std::string& path, std::int64_t turn);

  CpuDevice device_;
  std::int64_t cache_bytes_ = 0;
  double copy_bandwidth_ = 0;
  LinearProblem problem_;
  std::int64_t turn_ = 0;
  std::vector<Matrix<float>> weights_, inputs_, outputs_;
  std::vector<PackedMatrix> packed_weights_, packed_inputs_;
  Matrix<float> hadamard_, matrices_, transformed_;
};

double CpuThroughputBackend::copy_bandwidth() {
  if (copy_bandwidth_ > 0) return copy_bandwidth_;
  constexpr int kSamples = 5;
  // From one half of more than the cache to the other.
  const std::int64_t cols = 4096;
  const std::int64_t rows = cache_bytes_ / (cols * kFloat) + 1;
  Matrix<float> from(device_, rows, cols);
  Matrix<float> to(device_, rows, cols);
  const auto bytes = static_cast<std::size_t>(rows * cols * kFloat);
  std::fill_n(from.data(), rows * cols, 1.5f);
  double best = 0;
  for (int i = 0; i <= kSamples; ++i) {  // the first touches the pages
    const auto start = Clock::now();
    std::memcpy(to.data(), from.data(), bytes);
    const double seconds =
        std::chrono::duration<double>(Clock::now() - start).count();
    if (i > 0) best = std::max(best, 2 * static_cast<double>(bytes) / seconds);
  }
  return copy_bandwidth_ = best;
}

Matrix<float> CpuThroughputBackend::make_matrix(const RandomValues& values,
                                                Operand operand,
                                                std::int64_t rows,
                                                std::int64_t cols) {
  Matrix<float> matrix(device_, rows, cols);
  const std::vector<float> period = values.period(operand);
  const auto size = static_cast<std::size_t>(rows * cols);
  for (std::size_t i = 0; i < size; i += period.size()) {
    std::copy_n(period.begin(), std::min(period.size(), size - i),
                matrix.data() + i);
  }
  return matrix;
}

// Sets are alike: what makes them come from memory is their addresses.
std::vector<Matrix<float>> CpuThroughputBackend::make_sets(
    const RandomValues& values, Operand operand, std::int64_t rows,
    std::int64_t cols, std::int64_t count) {
  std::vector<Matrix<float>> sets;
  sets.push_back(make_matrix(values, operand, rows, cols));
  for (std::int64_t i = 1; i < count; ++i) {
    sets.emplace_back(device_, rows, cols);
    std::copy_n(sets.front().data(), rows * cols, sets.back().data());
  }
  return sets;
}

void CpuThroughputBackend::prepare_transforms(const RandomValues& values) {
  const std::int64_t block = problem_.transform_block;
  const Eigen::MatrixXf hadamard =
      hadamard_matrix(problem_.transform_block).cast<float>();
  hadamard_ = Matrix<float>(device_, block, block);  // symmetric
  to_device(device_, hadamard.data(), hadamard_.view());
  matrices_ = make_matrix(values, Operand::kTransform, problem_.inputs, block);
  transformed_ = Matrix<float>(device_, problem_.tokens, problem_.inputs);
}

Rotation CpuThroughputBackend::prepare(const LinearProblem& problem,
                                       const RandomValues& values) {
  weights_.clear();  // before the next ones take their memory
  inputs_.clear();
  outputs_.clear();
  packed_weights_.clear();
  packed_inputs_.clear();
  problem_ = problem;
  turn_ = 0;
  const SetCounts counts = count_sets(problem, cache_bytes_);
  weights_ = make_sets(values, Operand::kWeights, problem.outputs,
                       problem.inputs, counts.dense);
  inputs_ = make_sets(values, Operand::kActivations, problem.tokens,
                      problem.inputs, counts.inputs);
  for (std::int64_t i = 0; i < counts.inputs; ++i) {
    outputs_.emplace_back(device_, problem.tokens, problem.outputs);
    device_.fill_zero(
        outputs_.back().data(),
        static_cast<std::size_t>(problem.tokens * problem.outputs * kFloat));
  }
  if (!problem.format) {
    return {counts.dense,
            counts.dense * problem.outputs * problem.inputs * kFloat};
  }
  pack(problem, counts);
  prepare_transforms(values);
  return {counts.packed,
          counts.packed * packed_bytes(problem, problem.outputs)};
}

void CpuThroughputBackend::pack(const LinearProblem& problem,
                                const SetCounts& counts) {
  for (std::int64_t i = 0; i < counts.packed; ++i) {
    packed_weights_.emplace_back(device_, *problem.format, problem.outputs,
                                 problem.inputs);
    const PackedView to = packed_weights_.back().view();
    if (i == 0) {
      device_.quantize(weights_[0].view(),
                       {*problem.format, numerics::ScaleRule::kAbsMax, 0}, to,
                       "weights");
      continue;
    }
    const PackedView first = packed_weights_.front().view();
    std::memcpy(to.codes, first.codes,
                static_cast<std::size_t>(to.code_bytes()));
    std::memcpy(to.scales, first.scales,
                static_cast<std::size_t>(to.scale_bytes()));
  }
  for (const Matrix<float>& x : inputs_) {
    packed_inputs_.emplace_back(device_, *problem.format, problem.tokens,
                                problem.inputs);
    device_.quantize(x.view(), {*problem.format, problem.activation_scale, 0},
                     packed_inputs_.back().view(), "activations");
  }
}

void CpuThroughputBackend::compute(const std::string& path, std::int64_t turn) {
  const MatrixView<const float> x = turn_of(inputs_, turn).view();
  const MatrixView<float> y = turn_of(outputs_, turn).view();
  if (path == "float32") {
    device_.linear(x, turn_of(weights_, turn).view(), nullptr, y);
    return;
  }
  const PackedView packed = turn_of(packed_inputs_, turn).view();
  if (path != "matmul") {
    const bool shared = path == "hadamard";
    device_.block_transform(x,
                            {shared ? hadamard_.data() : matrices_.data(),
                             problem_.transform_block, shared},
                            transformed_.view());
    device_.quantize(transformed_.view(),
                     {*problem_.format, problem_.activation_scale, 0}, packed,
                     "activations");
  }
  device_.quantized_linear(packed, turn_of(packed_weights_, turn).view(),
                           nullptr, y);
}

}  // namespace

std::unique_ptr<ThroughputBackend> make_cpu_throughput_backend(int threads) {
  return std::make_unique<CpuThroughputBackend>(threads);
}

}  // namespace wush
