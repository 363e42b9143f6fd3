#include "kernels/cuda/hessian.h"

#include <tuple>

#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::DataType;
using kernels::cuda::HessianKernel;
using testing::DeviceBuffer;

struct Shape {
  std::int64_t tokens, channels;
};

class CudaHessian : public ::testing::TestWithParam<HessianKernel> {};

// Lower half in double, and the sums of magnitudes.
void reference(const std::vector<float>& x, const Shape& s,
               std::vector<double>* h, std::vector<double>* magnitude) {
  const auto channels = static_cast<std::size_t>(s.channels);
  h->assign(channels * channels, 0);
  magnitude->assign(channels * channels, 0);
  for (std::size_t t = 0; t < static_cast<std::size_t>(s.tokens); ++t) {
    for (std::size_t i = 0; i < channels; ++i) {
      const double a = static_cast<double>(x[t * channels + i]);
      for (std::size_t j = 0; j <= i; ++j) {
        const double product = a * static_cast<double>(x[t * channels + j]);
        (*h)[i * channels + j] += product;
        (*magnitude)[i * channels + j] += std::abs(product);
      }
    }
  }
}

void check_lower_half(HessianKernel kernel, const Shape& s) {
  const auto x = testing::store_as(
      DataType::kBfloat16,
      testing::make_data(testing::Data::kNormal,
                         static_cast<std::size_t>(s.tokens * s.channels), 4));
  DeviceBuffer<std::uint8_t> device_x(x.bytes);
  const auto size = static_cast<std::size_t>(s.channels * s.channels);
  DeviceBuffer<float> h(std::vector<float>(size, 1.5f));
  EXPECT_OK(kernels::cuda::accumulate_hessian(
      kernel, device_x.get(), s.tokens, s.channels, h.get(), nullptr, nullptr));
  const auto got = h.host();
  std::vector<double> want, magnitude;
  reference(x.values, s, &want, &magnitude);
  // Each instruction adds 16 exact products to the sum with a truncation in
  // units of 2^-23 of the largest term for each; one more to join h.
  const double unit = (static_cast<double>((s.tokens + 15) / 16) * 17 + 1) *
                      std::ldexp(1.0, -23);
  for (std::int64_t i = 0; i < s.channels; ++i) {
    for (std::int64_t j = 0; j < s.channels; ++j) {
      const auto k = static_cast<std::size_t>(i * s.channels + j);
      if (j > i) {
        ASSERT_EQ(got[k], 1.5f) << i << ", " << j;
      } else {
        ASSERT_NEAR(static_cast<double>(got[k]), want[k] + 1.5,
                    unit * (magnitude[k] + 1.5))
            << i << ", " << j;
      }
    }
  }
}

TEST_P(CudaHessian, AddsTheLowerHalfOnly) {
  WUSH_REQUIRE_GPU();
  const HessianKernel kernel = GetParam();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (kernel == HessianKernel::kHopper && info.architecture != 90) {
    GTEST_SKIP() << "needs compute capability 9.0";
  }
  for (const Shape& s :
       {Shape{1, 8}, {100, 264}, {257, 136}, {130, 600}, {70, 2504}}) {
    ASSERT_NO_FATAL_FAILURE(check_lower_half(kernel, s));
  }
}

// Every kernel once, on a shape that the sanitizers get through.
TEST(CudaHessianSanitize, EveryKernel) {
  WUSH_REQUIRE_GPU();
  for (const HessianKernel kernel :
       {HessianKernel::kAuto, HessianKernel::kPortable}) {
    ASSERT_NO_FATAL_FAILURE(check_lower_half(kernel, {70, 136}));
  }
}

// Thousands of small additions to a large value: float32 alone loses them.
TEST_P(CudaHessian, ResidualKeepsWhatRoundingLoses) {
  WUSH_REQUIRE_GPU();
  const HessianKernel kernel = GetParam();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (kernel == HessianKernel::kHopper && info.architecture != 90) {
    GTEST_SKIP() << "needs compute capability 9.0";
  }
  constexpr std::int64_t kChannels = 16, kTokens = 1;
  DeviceBuffer<float> h(std::vector<float>(kChannels * kChannels, 0.0f));
  DeviceBuffer<float> residual(std::vector<float>(kChannels * kChannels, 0.0f));
  const auto add = [&](float value) {
    const auto x = testing::store_as(DataType::kBfloat16,
                                     std::vector<float>(kChannels, value));
    DeviceBuffer<std::uint8_t> device_x(x.bytes);
    EXPECT_OK(kernels::cuda::accumulate_hessian(kernel, device_x.get(), kTokens,
                                                kChannels, h.get(),
                                                residual.get(), nullptr));
    CUDA_OK(cudaDeviceSynchronize());
  };
  add(4096.0f);  // 2^24
  for (int i = 0; i < 64; ++i) add(0.5f);
  const auto high = h.host(), low = residual.host();
  EXPECT_EQ(static_cast<double>(high[kChannels]) +
                static_cast<double>(low[kChannels]),
            16777216.0 + 16.0);
  EXPECT_EQ(high[1], 0.0f);
}

INSTANTIATE_TEST_SUITE_P(Kernels, CudaHessian,
                         ::testing::Values(HessianKernel::kAuto,
                                           HessianKernel::kPortable,
                                           HessianKernel::kHopper),
                         [](const auto& param) {
                           return param.param == HessianKernel::kAuto ? "auto"
                                  : param.param == HessianKernel::kPortable
                                      ? "portable"
                                      : "hopper";
                         });

TEST(CudaHessianOdd, AnyNumberOfChannels) {
  WUSH_REQUIRE_GPU();
  const Shape s{50, 77};
  const auto x =
      testing::store_as(DataType::kBfloat16,
                        testing::make_data(testing::Data::kNormal, 50 * 77, 4));
  DeviceBuffer<std::uint8_t> device_x(x.bytes);
  DeviceBuffer<float> h(std::vector<float>(77 * 77, 0.0f));
  EXPECT_OK(kernels::cuda::accumulate_hessian(
      HessianKernel::kAuto, device_x.get(), s.tokens, s.channels, h.get(),
      nullptr, nullptr));
  const auto got = h.host();
  std::vector<double> want, magnitude;
  reference(x.values, s, &want, &magnitude);
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(got[i]), want[i],
                69 * std::ldexp(1.0, -23) * magnitude[i]);
  }
}

TEST(CudaHessianRefusals, NameKernelAndShape) {
  WUSH_REQUIRE_GPU();
  EXPECT_NE(kernels::cuda::accumulate_hessian(HessianKernel::kHopper, nullptr,
                                              4, 77, nullptr, nullptr, nullptr)
                .message()
                .find("accumulate_hessian [4, 77]: the Hopper kernel needs"),
            std::string::npos);
}

}  // namespace
}  // namespace wush
