// Products in a row on one stream: launches may overlap, what they read and
// write must not.
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

struct Chain {
  static constexpr std::int64_t kTokens = 16, kFeatures = 1024, kCols = 1024;
  MatmulKernel kernel;
  Format format;
  bool settled;  // weights
  static constexpr std::int64_t kCodes = kFeatures * kCols / 2;
  static constexpr std::int64_t kScales = kFeatures * kCols / 8;
  DeviceBuffer<std::uint8_t> w_codes[2] = {DeviceBuffer<std::uint8_t>(kCodes),
                                           DeviceBuffer<std::uint8_t>(kCodes)};
  DeviceBuffer<std::uint8_t> w_scales[2] = {
      DeviceBuffer<std::uint8_t>(kScales), DeviceBuffer<std::uint8_t>(kScales)};
  DeviceBuffer<std::uint8_t> x_codes{kTokens * kCols / 2};
  DeviceBuffer<std::uint8_t> x_scales{kTokens * kCols / 8};

  void write_weights(const float* w, int which) const {
    EXPECT_OK(kernels::cuda::quantize(
        format, ScaleRule::kAbsMax, 0, DataType::kFloat32, w, kFeatures, kCols,
        0, {w_codes[which].get(), w_scales[which].get(), nullptr}, nullptr));
  }

  // y = x W^T, then y quantized is the next x, without a pause unless `pause`;
  // two W take turns. Those that are not settled are written before every
  // product, too, in one place.
  void run(int steps, bool pause, const float* w, const float* x,
           std::vector<DeviceBuffer<float>*> y) {
    const auto rest = [&] {
      if (pause) {
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      }
    };
    std::int64_t bytes = 0;
    EXPECT_OK(kernels::cuda::fp4_matmul_workspace(kernel, format, kTokens,
                                                  kFeatures, kCols, &bytes));
    const DeviceBuffer<std::uint8_t> workspace(static_cast<std::size_t>(bytes) +
                                               1);
    if (settled) {
      write_weights(w, 0);
      write_weights(w + kFeatures * kCols, 1);
      EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    }
    for (int i = 0; i < steps; ++i) {
      const int place = settled ? i % 2 : 0;
      if (!settled) write_weights(w + i % 2 * kFeatures * kCols, 0);
      rest();
      EXPECT_OK(kernels::cuda::quantize(
          format, ScaleRule::kAbsMax, 0, DataType::kFloat32,
          i == 0 ? x : y[static_cast<std::size_t>(i) - 1]->get(), kTokens,
          kCols, 0, {x_codes.get(), x_scales.get(), nullptr}, nullptr));
      rest();
      // Twice, so that a product directly follows a product.
      for (int twice = 0; twice < 2; ++twice) {
        EXPECT_OK(kernels::cuda::fp4_matmul(
            kernel, format, kCols, {x_codes.get(), x_scales.get(), kTokens, 0},
            {w_codes[place].get(), w_scales[place].get(), kFeatures, 0,
             settled},
            {DataType::kFloat32, y[static_cast<std::size_t>(i)]->get(),
             nullptr},
            workspace.get(), bytes, nullptr));
        rest();
      }
    }
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
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> host(2 * Chain::kFeatures * Chain::kCols);
  for (float& v : host) v = normal(random);
  const DeviceBuffer<float> w(host);
  host.resize(Chain::kTokens * Chain::kCols);
  const DeviceBuffer<float> x(host);
  std::vector<std::vector<float>> results[2];
  for (int pause = 0; pause < 2; ++pause) {
    Chain chain{kernel, format, settled};
    std::vector<std::unique_ptr<DeviceBuffer<float>>> y;
    std::vector<DeviceBuffer<float>*> places;
    for (int i = 0; i < kSteps; ++i) {
      y.push_back(std::make_unique<DeviceBuffer<float>>(
          static_cast<std::size_t>(Chain::kTokens * Chain::kFeatures)));
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
        << "product " << i;
    ASSERT_TRUE(std::isfinite(results[0][i][0]));
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
