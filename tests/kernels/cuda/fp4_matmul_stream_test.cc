// Products in a row: launches may overlap, what they read and write must not.
// As single calls they hardly would, since a launch takes the host longer than
// the device.
#include <algorithm>
#include <cstring>
#include <memory>
#include <tuple>

#include "kernels/cuda/fp4_matmul.h"
#include "kernels/cuda/quantize.h"
#include "tests/kernels/cuda/fp4_product_check.h"
#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::DataType;
using kernels::cuda::MatmulKernel;
using numerics::Format;
using numerics::ScaleRule;
using testing::DeviceBuffer;

// Calls made on a stream: one after another with a pause after each, or as one
// graph, in which launches follow each other as closely as they can.
class Calls {
 public:
  explicit Calls(bool pause) : pause_(pause) {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
              cudaSuccess);
    if (pause_) return;
    EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
              cudaSuccess);
  }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;
  ~Calls() { EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess); }

  cudaStream_t stream() const { return stream_; }
  void rest() const {
    if (pause_) {
      EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    }
  }
  // After the last call.
  void finish() const {
    if (pause_) return;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  }

 private:
  bool pause_;
  cudaStream_t stream_ = nullptr;
};

struct Chain {
  // Few enough that some multiprocessors are free while weights are quantized:
  // the product's first blocks begin there at once.
  static constexpr std::int64_t kFeatures = 512, kCols = 512;
  static constexpr std::int64_t kCodes = kFeatures * kCols / 2;
  static constexpr std::int64_t kScales = kFeatures * kCols / 8;
  MatmulKernel kernel;
  Format format;
  bool settled;  // weights
  std::int64_t tokens;
  DeviceBuffer<std::uint8_t> w_codes[2] = {DeviceBuffer<std::uint8_t>(kCodes),
                                           DeviceBuffer<std::uint8_t>(kCodes)};
  DeviceBuffer<std::uint8_t> w_scales[2] = {
      DeviceBuffer<std::uint8_t>(kScales), DeviceBuffer<std::uint8_t>(kScales)};
  DeviceBuffer<std::uint8_t> x_codes{
      static_cast<std::size_t>(tokens * kCols / 2)};
  DeviceBuffer<std::uint8_t> x_scales{
      static_cast<std::size_t>(tokens * kCols / 8)};

  // By the rule that takes longest.
  void quantize(const float* from, std::int64_t rows,
                const DeviceBuffer<std::uint8_t>& codes,
                const DeviceBuffer<std::uint8_t>& scales,
                cudaStream_t stream) const {
    EXPECT_OK(kernels::cuda::quantize(
        format, ScaleRule::kSearch, 0, DataType::kFloat32, from, rows, kCols, 0,
        {codes.get(), scales.get(), nullptr}, stream));
  }

  // y = x W^T, then y quantized is the next x; two W take turns. Those that are
  // not settled are written before every product, too, in one place; what is
  // written last takes turns.
  void run(int steps, bool pause, const float* w, const float* x,
           std::vector<DeviceBuffer<float>*> y) const {
    std::int64_t bytes = 0;
    EXPECT_OK(kernels::cuda::fp4_matmul_workspace(kernel, format, tokens,
                                                  kFeatures, kCols, &bytes));
    const DeviceBuffer<std::uint8_t> workspace(static_cast<std::size_t>(bytes) +
                                               1);
    if (settled) {
      for (int i = 0; i < 2; ++i) {
        quantize(w + i * kFeatures * kCols, kFeatures, w_codes[i], w_scales[i],
                 nullptr);
      }
    }
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    const Calls calls(pause);
    for (int i = 0; i < steps; ++i) {
      const int place = settled ? i % 2 : 0;
      for (const bool weights : {i / 2 % 2 == 0, i / 2 % 2 != 0}) {
        if (weights && settled) continue;
        if (weights) {
          quantize(w + i % 2 * kFeatures * kCols, kFeatures, w_codes[0],
                   w_scales[0], calls.stream());
        } else {
          quantize(i == 0 ? x : y[static_cast<std::size_t>(i) - 1]->get(),
                   tokens, x_codes, x_scales, calls.stream());
        }
        calls.rest();
      }
      // Twice, so that a product directly follows a product.
      for (int twice = 0; twice < 2; ++twice) {
        EXPECT_OK(kernels::cuda::fp4_matmul(
            kernel, format, kCols, {x_codes.get(), x_scales.get(), tokens, 0},
            {w_codes[place].get(), w_scales[place].get(), kFeatures, 0,
             settled},
            {DataType::kFloat32, y[static_cast<std::size_t>(i)]->get(),
             nullptr},
            workspace.get(), bytes, calls.stream()));
        calls.rest();
      }
    }
    calls.finish();
  }
};

class CudaFp4MatmulStream
    : public ::testing::TestWithParam<std::tuple<MatmulKernel, Format, bool>> {
};

TEST_P(CudaFp4MatmulStream, OverlapChangesNothing) {
  WUSH_REQUIRE_GPU();
  const auto [kernel, format, settled] = GetParam();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (testing::is_for_hopper(kernel) && info.architecture != 90) {
    GTEST_SKIP() << "needs compute capability 9.0";
  }
  constexpr int kSteps = 8;
  constexpr std::int64_t kTokens[] = {1, 16};
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> host(2 * Chain::kFeatures * Chain::kCols);
  for (float& v : host) v = normal(random);
  const DeviceBuffer<float> w(host);
  host.resize(std::max(kTokens[0], kTokens[1]) * Chain::kCols);
  const DeviceBuffer<float> x(host);
  for (const std::int64_t tokens : kTokens) {
    std::vector<std::vector<float>> results[2];
    for (const int pause : {1, 0}) {  // the first loads the kernels
      const Chain chain{kernel, format, settled, tokens};
      std::vector<std::unique_ptr<DeviceBuffer<float>>> y;
      std::vector<DeviceBuffer<float>*> places;
      for (int i = 0; i < kSteps; ++i) {
        y.push_back(std::make_unique<DeviceBuffer<float>>(
            static_cast<std::size_t>(tokens * Chain::kFeatures)));
        places.push_back(y.back().get());
      }
      ASSERT_NO_FATAL_FAILURE(
          chain.run(kSteps, pause != 0, w.get(), x.get(), places));
      for (const auto& buffer : y) results[pause].push_back(buffer->host());
    }
    for (std::size_t i = 0; i < kSteps; ++i) {
      ASSERT_EQ(std::memcmp(results[0][i].data(), results[1][i].data(),
                            results[0][i].size() * sizeof(float)),
                0)
          << "product " << i << ", tokens: " << tokens;
      ASSERT_TRUE(std::isfinite(results[0][i][0]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, CudaFp4MatmulStream,
    ::testing::Combine(
        ::testing::Values(MatmulKernel::kSmall, MatmulKernel::kFewHopper,
                          MatmulKernel::kBatch),
        ::testing::Values(Format::kMxfp4, Format::kNvfp4, Format::kInt4),
        ::testing::Bool()),
    [](const auto& param) {
      return testing::test_name(
          testing::kernel_name(std::get<0>(param.param)) + "_" +
          std::string(numerics::describe(std::get<1>(param.param)).name) +
          (std::get<2>(param.param) ? "_settled" : ""));
    });

}  // namespace
}  // namespace wush
