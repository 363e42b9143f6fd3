#include "lib/throughput/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <utility>

#include "kernels/cuda/block_transform.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/fp4_matmul.h"
#include "kernels/cuda/quantize.h"
#include "kernels/numerics/bfloat16.h"
#include "kernels/numerics/group_quantizer.h"
#include "lib/support/error.h"
#include "lib/throughput/cuda_blas.h"
#include "lib/throughput/cuda_buffers.h"
#include "lib/throughput/cuda_clocks.h"
#include "lib/throughput/rotation.h"

namespace wush {
namespace {

namespace cuda = kernels::cuda;
using cuda::DataType;

constexpr std::int64_t kHalf = 2;  // bytes of a bfloat16 or float16
// Several times the cache: replacement is not perfect.
constexpr std::int64_t kCacheFactor = 4;

// Exact for the values of RandomValues, which are normal numbers in both types.
std::uint16_t exact_float16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  constexpr std::uint32_t kBiasDifference = (127 - 15) << 10;
  return static_cast<std::uint16_t>(
      (bits >> 16 & 0x8000u) | ((bits >> 13 & 0x3ffffu) - kBiasDifference));
}

float decode(bool is_float16, std::uint16_t bits) {
  return is_float16 ? numerics::float16_decode(bits)
                    : numerics::bfloat16_decode(bits);
}

// Buffers of each kind that a problem takes, and the bytes of one.
struct Layout {
  std::int64_t weight_bytes = 0, input_bytes = 0, output_bytes = 0;
  std::int64_t packed_codes = 0, packed_scales = 0;  // of the weights
  std::int64_t input_codes = 0, input_scales = 0;
  std::int64_t dense = 0;   // sets of bfloat16 and float16 weights
  std::int64_t packed = 0;  // sets of packed weights
  std::int64_t inputs = 0;  // sets of activations and outputs
  std::int64_t launches = 0;
};

Layout make_layout(const LinearProblem& p, std::int64_t l2_bytes) {
  const std::int64_t cache = kCacheFactor * l2_bytes;
  Layout layout;
  layout.weight_bytes = p.outputs * p.inputs * kHalf;
  layout.input_bytes = p.tokens * p.inputs * kHalf;
  layout.output_bytes = p.tokens * p.outputs * kHalf;
  layout.dense = rotation_sets(cache, layout.weight_bytes);
  layout.launches = layout.dense;
  if (p.format) {
    const auto& format = numerics::describe(*p.format);
    const std::int64_t groups = p.inputs / format.group;
    layout.packed_codes = p.outputs * p.inputs / 2;
    layout.packed_scales = p.outputs * groups * format.scale_bytes();
    layout.input_codes = p.tokens * p.inputs / 2;
    layout.input_scales = p.tokens * groups * format.scale_bytes();
    layout.packed =
        rotation_sets(cache, layout.packed_codes + layout.packed_scales);
    layout.launches = layout.packed;
  }
  layout.inputs = rotation_sets(cache, layout.input_bytes + layout.output_bytes,
                                std::max<std::int64_t>(layout.launches, 2));
  return layout;
}

struct PackedBuffer {
  DeviceBuffer codes, scales;

  PackedBuffer(std::int64_t code_bytes, std::int64_t scale_bytes)
      : codes(code_bytes), scales(scale_bytes) {}
  cuda::QuantizedOutput output() const {
    return {codes.as<std::uint8_t>(), scales.get(), nullptr};
  }
  // `settled`: see cuda::QuantizedMatrix.
  cuda::QuantizedMatrix matrix(std::int64_t rows, bool settled) const {
    return {codes.as<std::uint8_t>(), scales.get(), rows, numerics::kFormatUnit,
            settled};
  }
};

// One dense operand in both 16-bit types, the same values in all sets.
struct DenseSets {
  std::vector<DeviceBuffer> bfloat16, float16;

  const void* at(bool is_float16, std::int64_t turn) const {
    return turn_of(is_float16 ? float16 : bfloat16, turn).get();
  }
};

class CudaThroughputBackend final : public ThroughputBackend {
 public:
  CudaThroughputBackend(std::string name, int device);
  ~CudaThroughputBackend() override;
  CudaThroughputBackend(const CudaThroughputBackend&) = delete;
  CudaThroughputBackend& operator=(const CudaThroughputBackend&) = delete;

  std::string name() const override { return name_; }
  std::string device() const override { return info_.name; }
  std::string description() const override {
    return fmt::format(
        "{}; driver for CUDA {}; CUDA {}; compute capability {}.{}", info_.name,
        version(info_.driver_version), version(info_.runtime_version),
        info_.architecture / 10, info_.architecture % 10);
  }
  std::map<std::string, DataValue> attributes() const override;
  std::vector<std::string> baselines() const override {
    return {"bf16", "fp16"};
  }
  std::int64_t cache_bytes() const override { return info_.l2_bytes; }
  std::int64_t predict_bytes(const LinearProblem& problem) const override;
  double copy_bandwidth() override;
  Rotation prepare(const LinearProblem& problem,
                   const RandomValues& values) override;
  void run(const std::string& path) override;
  std::vector<float> output(std::int64_t token) override;
  PackedRow packed_activations(std::int64_t token) override;
  RoundingBound rounding(const std::string& path) const override;
  double time(const std::string& path) override;

 private:
  static std::string version(int number) {
    return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
  }
  void release();
  DenseSets make_dense(const RandomValues& values, Operand operand,
                       std::int64_t size, std::int64_t count);
  void fill(const std::vector<std::uint16_t>& period, std::int64_t size,
            const DeviceBuffer& to);
  void copy_first(std::vector<DeviceBuffer>& sets);
  void pack(const LinearProblem& problem, const RandomValues& values);
  void enqueue(const std::string& path, std::int64_t turn);
  void multiply_dense(bool is_float16, std::int64_t turn);
  void synchronize() {
    require(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }
  template <class T>
  std::vector<T> download(const void* from, std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    require(cudaMemcpy(values.data(), from, values.size() * sizeof(T),
                       cudaMemcpyDeviceToHost),
            "cudaMemcpy");
    return values;
  }

  std::string name_;
  cuda::DeviceInfo info_;
  std::unique_ptr<CudaClocks> clocks_;
  cuda::Stream stream_ = nullptr;
  std::unique_ptr<CudaBlas> blas_;
  double copy_bandwidth_ = 0;

  LinearProblem problem_;
  Layout layout_;
  DenseSets weights_, inputs_;
  std::vector<PackedBuffer> packed_weights_, packed_inputs_;
  std::vector<DeviceBuffer> outputs_;
  DeviceBuffer matrices_, workspace_;
  bool last_is_float16_ = false;
  std::map<std::string, std::unique_ptr<TimedGraph>> graphs_;
};

CudaThroughputBackend::CudaThroughputBackend(std::string name, int device)
    : name_(std::move(name)) {
  require(cudaSetDevice(device), "cudaSetDevice");
  require(cuda::device_info(&info_));
  std::array<char, 32> address{};
  require(cudaDeviceGetPCIBusId(address.data(), address.size(), device),
          "cudaDeviceGetPCIBusId");
  clocks_ = std::make_unique<CudaClocks>(address.data());
  require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
          "cudaStreamCreate");
  blas_ = std::make_unique<CudaBlas>(stream_);
}

CudaThroughputBackend::~CudaThroughputBackend() {
  graphs_.clear();
  blas_.reset();
  static_cast<void>(cudaStreamDestroy(stream_));
}

std::map<std::string, DataValue> CudaThroughputBackend::attributes() const {
  std::map<std::string, DataValue> attributes = clocks_->attributes();
  attributes["baseline"] =
      std::string("cublasGemmEx, CUBLAS_COMPUTE_32F, default algorithm");
  attributes["cublas"] = std::int64_t{blas_->version()};
  attributes["driver_cuda"] = version(info_.driver_version);
  attributes["toolkit"] = version(info_.runtime_version);
  attributes["compute_capability"] = std::int64_t{info_.architecture};
  attributes["memory_bytes"] = info_.memory_bytes;
  return attributes;
}

std::int64_t CudaThroughputBackend::predict_bytes(
    const LinearProblem& problem) const {
  const Layout layout = make_layout(problem, info_.l2_bytes);
  const std::int64_t x = 2 * layout.input_bytes + layout.output_bytes +
                         layout.input_codes + layout.input_scales;
  return CudaBlas::kWorkspaceBytes + 2 * layout.dense * layout.weight_bytes +
         layout.packed * (layout.packed_codes + layout.packed_scales) +
         layout.inputs * x + layout.input_bytes;
}

double CudaThroughputBackend::copy_bandwidth() {
  if (copy_bandwidth_ > 0) return copy_bandwidth_;
  constexpr std::int64_t kBytes = 128 << 20;
  constexpr std::int64_t kSets = 4;
  constexpr int kWarmup = 1000;
  constexpr int kSamples = 21;
  std::vector<DeviceBuffer> from, to;
  for (std::int64_t i = 0; i < kSets; ++i) {
    from.emplace_back(kBytes);
    to.emplace_back(kBytes);
    require(cudaMemset(from.back().get(), 0x3c, kBytes), "cudaMemset");
  }
  TimedGraph graph(stream_, kSets, [&](std::int64_t i) {
    require(cudaMemcpyAsync(turn_of(to, i).get(), turn_of(from, i).get(),
                            kBytes, cudaMemcpyDeviceToDevice, stream_),
            "cudaMemcpyAsync");
  });
  std::vector<double> seconds;
  for (int i = 0; i < kWarmup; ++i) graph.replay(nullptr);
  for (int i = 0; i < kSamples; ++i) seconds.push_back(graph.replay(nullptr));
  std::nth_element(seconds.begin(), seconds.begin() + kSamples / 2,
                   seconds.end());
  copy_bandwidth_ = 2.0 * static_cast<double>(kBytes) /
                    seconds[static_cast<std::size_t>(kSamples / 2)];
  return copy_bandwidth_;
}

void CudaThroughputBackend::release() {
  graphs_.clear();
  weights_ = {};
  inputs_ = {};
  packed_weights_.clear();
  packed_inputs_.clear();
  outputs_.clear();
  matrices_ = {};
  workspace_ = {};
}

// One period from the host, then what is there again and again: every copy
// begins at a multiple of the period.
void CudaThroughputBackend::fill(const std::vector<std::uint16_t>& period,
                                 std::int64_t size, const DeviceBuffer& to) {
  auto* target = to.as<std::uint16_t>();
  std::int64_t filled =
      std::min(size, static_cast<std::int64_t>(period.size()));
  // On the stream: a plain cudaMemcpy may return before the device has it all.
  require(cudaMemcpyAsync(target, period.data(),
                          static_cast<std::size_t>(filled * kHalf),
                          cudaMemcpyHostToDevice, stream_),
          "cudaMemcpyAsync");
  while (filled < size) {
    const std::int64_t count = std::min(filled, size - filled);
    require(cudaMemcpyAsync(target + filled, target,
                            static_cast<std::size_t>(count * kHalf),
                            cudaMemcpyDeviceToDevice, stream_),
            "cudaMemcpyAsync");
    filled += count;
  }
}

DenseSets CudaThroughputBackend::make_dense(const RandomValues& values,
                                            Operand operand, std::int64_t size,
                                            std::int64_t count) {
  std::vector<std::uint16_t> bfloat16, float16;
  for (const float value : values.period(operand)) {
    bfloat16.push_back(numerics::bfloat16_encode(value));
    float16.push_back(exact_float16(value));
  }
  DenseSets sets;
  fill(bfloat16, size, sets.bfloat16.emplace_back(size * kHalf));
  fill(float16, size, sets.float16.emplace_back(size * kHalf));
  for (std::int64_t i = 1; i < count; ++i) {
    copy_first(sets.bfloat16);
    copy_first(sets.float16);
  }
  return sets;
}

// One more set like the first.
void CudaThroughputBackend::copy_first(std::vector<DeviceBuffer>& sets) {
  DeviceBuffer copy(sets.front().bytes());
  require(cudaMemcpyAsync(copy.get(), sets.front().get(),
                          static_cast<std::size_t>(copy.bytes()),
                          cudaMemcpyDeviceToDevice, stream_),
          "cudaMemcpyAsync");
  sets.push_back(std::move(copy));
}

void CudaThroughputBackend::pack(const LinearProblem& p,
                                 const RandomValues& values) {
  for (std::int64_t i = 0; i < layout_.packed; ++i) {
    packed_weights_.emplace_back(layout_.packed_codes, layout_.packed_scales);
    require(cuda::quantize(*p.format, numerics::ScaleRule::kAbsMax,
                           numerics::kFormatUnit, DataType::kBfloat16,
                           weights_.at(false, 0), p.outputs, p.inputs, 0,
                           packed_weights_.back().output(), stream_));
  }
  for (std::int64_t i = 0; i < layout_.inputs; ++i) {
    packed_inputs_.emplace_back(layout_.input_codes, layout_.input_scales);
    require(cuda::quantize(*p.format, p.activation_scale, numerics::kFormatUnit,
                           DataType::kBfloat16, inputs_.at(false, i), p.tokens,
                           p.inputs, 0, packed_inputs_.back().output(),
                           stream_));
  }
  const std::int64_t size = p.inputs * p.transform_block;
  matrices_ = std::move(
      make_dense(values, Operand::kTransform, size, 1).bfloat16.front());
  std::int64_t bytes = 0;
  require(cuda::fp4_matmul_workspace(cuda::MatmulKernel::kAuto, *p.format,
                                     p.tokens, p.outputs, p.inputs, &bytes));
  workspace_ = DeviceBuffer(bytes);
}

Rotation CudaThroughputBackend::prepare(const LinearProblem& problem,
                                        const RandomValues& values) {
  release();
  problem_ = problem;
  layout_ = make_layout(problem, info_.l2_bytes);
  weights_ = make_dense(values, Operand::kWeights,
                        problem.outputs * problem.inputs, layout_.dense);
  inputs_ = make_dense(values, Operand::kActivations,
                       problem.tokens * problem.inputs, layout_.inputs);
  for (std::int64_t i = 0; i < layout_.inputs; ++i) {
    outputs_.emplace_back(layout_.output_bytes);
  }
  if (problem.format) pack(problem, values);
  synchronize();
  const std::int64_t bytes = problem.format
                                 ? layout_.packed_codes + layout_.packed_scales
                                 : layout_.weight_bytes;
  return {layout_.launches, layout_.launches * bytes};
}

// y [tokens, outputs] = x w^T.
void CudaThroughputBackend::multiply_dense(bool is_float16, std::int64_t turn) {
  blas_->multiply(is_float16 ? CUDA_R_16F : CUDA_R_16BF,
                  inputs_.at(is_float16, turn), weights_.at(is_float16, turn),
                  turn_of(outputs_, turn).get(), problem_.tokens,
                  problem_.outputs, problem_.inputs);
}

void CudaThroughputBackend::enqueue(const std::string& path,
                                    std::int64_t turn) {
  if (path == "bf16" || path == "fp16") {
    multiply_dense(path == "fp16", turn);
    return;
  }
  const LinearProblem& p = problem_;
  const PackedBuffer& x = turn_of(packed_inputs_, turn);
  if (path == "hadamard") {
    require(cuda::quantize(*p.format, p.activation_scale, numerics::kFormatUnit,
                           DataType::kBfloat16, inputs_.at(false, turn),
                           p.tokens, p.inputs, p.transform_block, x.output(),
                           stream_));
  } else if (path == "wush") {
    require(cuda::block_transform_quantize(
        {matrices_.get(), p.transform_block, false}, *p.format,
        p.activation_scale, numerics::kFormatUnit, DataType::kBfloat16,
        inputs_.at(false, turn), p.tokens, p.inputs, x.output(), stream_));
  }
  require(cuda::fp4_matmul(
      cuda::MatmulKernel::kAuto, *p.format, p.inputs, x.matrix(p.tokens, false),
      turn_of(packed_weights_, turn).matrix(p.outputs, true),
      {DataType::kBfloat16, turn_of(outputs_, turn).get(), nullptr},
      workspace_.get(), workspace_.bytes(), stream_));
}

void CudaThroughputBackend::run(const std::string& path) {
  // What a kernel fails to write must not look like a result.
  require(
      cudaMemsetAsync(outputs_.front().get(), 0xff,
                      static_cast<std::size_t>(layout_.output_bytes), stream_),
      "cudaMemsetAsync");
  enqueue(path, 0);
  last_is_float16_ = path == "fp16";
  synchronize();
}

std::vector<float> CudaThroughputBackend::output(std::int64_t token) {
  const auto* y = outputs_.front().as<std::uint16_t>();
  std::vector<float> row;
  for (const std::uint16_t bits : download<std::uint16_t>(
           y + token * problem_.outputs, problem_.outputs)) {
    row.push_back(decode(last_is_float16_, bits));
  }
  return row;
}

PackedRow CudaThroughputBackend::packed_activations(std::int64_t token) {
  const PackedBuffer& x = packed_inputs_.front();
  const std::int64_t codes = problem_.inputs / 2;
  const std::int64_t scales = layout_.input_scales / problem_.tokens;
  return {
      download<std::uint8_t>(x.codes.as<std::uint8_t>() + token * codes, codes),
      download<std::uint8_t>(x.scales.as<std::uint8_t>() + token * scales,
                             scales)};
}

// The output is rounded to 16 bits once. Sums are float32; the matrix units add
// eight products or more at a time and may truncate, an error of at most 2^-23
// of a partial sum each. int4 operands are rounded to bfloat16, 2^-9 each.
RoundingBound CudaThroughputBackend::rounding(const std::string& path) const {
  RoundingBound bound;
  bound.output = path == "fp16" ? 0x1p-11 : 0x1p-8;
  bound.products = static_cast<double>(problem_.inputs) / 8 * 0x1p-23;
  const bool is_dense = path == "bf16" || path == "fp16";
  if (!is_dense && problem_.format == numerics::Format::kInt4) {
    bound.products += 0x1p-8;
  }
  return bound;
}

double CudaThroughputBackend::time(const std::string& path) {
  std::unique_ptr<TimedGraph>& graph = graphs_[path];
  const bool is_first = graph == nullptr;
  if (is_first) {
    graph = std::make_unique<TimedGraph>(
        stream_, layout_.launches,
        [&](std::int64_t turn) { enqueue(path, turn); });
  }
  // Asking for the clocks takes longer than many a sample: once is enough.
  return graph->replay(
      is_first ? std::function<void()>([&] { clocks_->sample(); }) : nullptr);
}

}  // namespace

std::unique_ptr<ThroughputBackend> make_cuda_throughput_backend(
    const std::string& name, int device) {
  const int count = cuda::device_count();
  if (device >= count) {
    throw DeviceError(
        fmt::format("device \"{}\" is not there: this machine has {} usable "
                    "CUDA devices",
                    name, count));
  }
  return std::make_unique<CudaThroughputBackend>(name, device);
}

}  // namespace wush
