#include "kernels/cuda/fp4_matmul.h"

#include <tuple>

#include "tests/kernels/cuda/fp4_product_check.h"
#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::DataType;
using kernels::cuda::MatmulKernel;
using kernels::cuda::QuantizedMatrix;
using numerics::Format;
using Shape = testing::ProductShape;
using testing::check_product;
using testing::columns_of;
using testing::is_for_hopper;
using testing::kernel_name;

using Case = std::tuple<MatmulKernel, Format>;
class CudaFp4Matmul : public ::testing::TestWithParam<Case> {};

TEST_P(CudaFp4Matmul, IsTheProductOfTheDecodedOperands) {
  WUSH_REQUIRE_GPU();
  const auto [kernel, format] = GetParam();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (is_for_hopper(kernel) && info.architecture != 90) {
    GTEST_SKIP() << "needs compute capability 9.0";
  }
  if (kernel == MatmulKernel::kBlockScaled && info.architecture / 10 != 12) {
    GTEST_SKIP() << "needs compute capability 12.0";
  }
  if (kernel == MatmulKernel::kTcgen05) {
    if (info.architecture != 100) {
      GTEST_SKIP() << "needs compute capability 10.0";
    }
    if (format == Format::kInt4) GTEST_SKIP() << "has no int4 instruction";
  }
  const bool small = kernel == MatmulKernel::kSmall;
  for (const Shape& s : {Shape{1, 1, 32},
                         {1, 200, 1024},
                         {7, 33, 96},
                         {16, 128, 2048},
                         {32, 72, 544},
                         {small ? 33 : 257, 264, 384},
                         {300, 129, 160},
                         {64, 1024, 4096}}) {
    if (kernel == MatmulKernel::kBlockScaled &&
        (s.cols % 64 != 0 || format == Format::kInt4)) {
      continue;
    }
    if (s.cols % columns_of(kernel) != 0) continue;
    for (const int spread : {0, 6}) {
      ASSERT_NO_FATAL_FAILURE(
          check_product(kernel, format, s, DataType::kFloat32, true, spread));
    }
    ASSERT_NO_FATAL_FAILURE(
        check_product(kernel, format, s, DataType::kBfloat16, false, 2));
    ASSERT_NO_FATAL_FAILURE(
        check_product(kernel, format, s, DataType::kBfloat16, true, 0));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, CudaFp4Matmul,
    ::testing::Combine(
        ::testing::Values(MatmulKernel::kAuto, MatmulKernel::kSmall,
                          MatmulKernel::kFewHopper, MatmulKernel::kBatch,
                          MatmulKernel::kPortable, MatmulKernel::kHopper,
                          MatmulKernel::kBlockScaled, MatmulKernel::kTcgen05),
        ::testing::Values(Format::kMxfp4, Format::kNvfp4, Format::kInt4,
                          Format::kMxfp4Ocp)),
    [](const auto& param) {
      return testing::test_name(
          kernel_name(std::get<0>(param.param)) + "_" +
          std::string(numerics::describe(std::get<1>(param.param)).name));
    });

// Many tiles: the persistent loop, both tile sizes and the raster.
TEST(CudaFp4MatmulLarge, HopperManyTiles) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (info.architecture != 90) GTEST_SKIP() << "needs compute capability 9.0";
  for (const Shape& s : {Shape{2700, 2000, 64}, Shape{600, 8200, 96}}) {
    ASSERT_NO_FATAL_FAILURE(check_product(MatmulKernel::kHopper, Format::kMxfp4,
                                          s, DataType::kBfloat16, true, 3));
    ASSERT_NO_FATAL_FAILURE(check_product(MatmulKernel::kHopper, Format::kNvfp4,
                                          s, DataType::kFloat32, false, 3));
  }
}

// Few tiles, whose columns the blocks of a cluster share evenly or not, down to
// parts of a chunk, or are too few to share; tiles that are not full, and the
// most that are shared (on 132 multiprocessors).
TEST(CudaFp4MatmulLarge, HopperSharedColumns) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (info.architecture != 90) GTEST_SKIP() << "needs compute capability 9.0";
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    for (const Shape& s : {Shape{70, 130, 896},
                           {70, 130, 1056},
                           {128, 4096, 1664},
                           {100, 1000, 4224},
                           {129, 2100, 2080},
                           {300, 600, 9632},
                           {128, 8448, 1024}}) {
      ASSERT_NO_FATAL_FAILURE(check_product(MatmulKernel::kHopper, format, s,
                                            DataType::kFloat32, true, 4));
      ASSERT_NO_FATAL_FAILURE(check_product(MatmulKernel::kHopper, format, s,
                                            DataType::kBfloat16, false, 4));
    }
  }
}

// Tiles in both directions, rings that go round and columns that end within a
// stage and within an instruction.
TEST(CudaFp4MatmulLarge, Tcgen05ManyTiles) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (info.architecture != 100) GTEST_SKIP() << "needs compute capability 10.0";
  for (const Shape& s : {Shape{700, 1000, 64}, Shape{300, 520, 1120}}) {
    for (const Format format : {Format::kMxfp4, Format::kNvfp4}) {
      ASSERT_NO_FATAL_FAILURE(check_product(MatmulKernel::kTcgen05, format, s,
                                            DataType::kBfloat16, true, 3));
      ASSERT_NO_FATAL_FAILURE(check_product(MatmulKernel::kTcgen05, format, s,
                                            DataType::kFloat32, false, 3));
    }
  }
}

// Every kernel once, on shapes that the sanitizers get through.
TEST(CudaFp4MatmulSanitize, EveryKernel) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  for (const MatmulKernel kernel :
       {MatmulKernel::kSmall, MatmulKernel::kFewHopper, MatmulKernel::kBatch,
        MatmulKernel::kPortable, MatmulKernel::kHopper,
        MatmulKernel::kTcgen05}) {
    if (is_for_hopper(kernel) && info.architecture != 90) continue;
    if (kernel == MatmulKernel::kTcgen05 && info.architecture != 100) continue;
    for (const Format format :
         {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
      if (kernel == MatmulKernel::kTcgen05 && format == Format::kInt4) continue;
      for (const Shape& s : {Shape{5, 40, 160},
                             {70, 72, 288},
                             {1, 24, 1056},
                             {9, 136, 384},
                             {20, 136, 640},
                             {70, 136, 1056},
                             {20, 136, 2688},
                             {9, 17000, 384},
                             {12, 17000, 512}}) {
        if (s.cols % columns_of(kernel) != 0) continue;
        // Several tiles of a group, and blocks that share the columns, of the
        // kernels for few tokens.
        if (kernel != MatmulKernel::kSmall &&
            kernel != MatmulKernel::kFewHopper &&
            s.features * s.cols > 300000) {
          continue;
        }
        ASSERT_NO_FATAL_FAILURE(
            check_product(kernel, format, s, DataType::kBfloat16, true, 2));
      }
    }
  }
}

// Rows that are not aligned to 16 bytes.
TEST(CudaFp4MatmulOdd, Nvfp4OfOddGroups) {
  WUSH_REQUIRE_GPU();
  for (const Shape& s : {Shape{5, 40, 16}, {40, 24, 48}, {130, 70, 208}}) {
    for (const MatmulKernel kernel :
         {MatmulKernel::kAuto, MatmulKernel::kSmall, MatmulKernel::kPortable}) {
      ASSERT_NO_FATAL_FAILURE(check_product(kernel, Format::kNvfp4, s,
                                            DataType::kFloat32, false, 2));
    }
  }
}

TEST(CudaFp4MatmulRefusals, NameKernelAndShape) {
  WUSH_REQUIRE_GPU();
  const QuantizedMatrix none{nullptr, nullptr, 4, 0};
  EXPECT_EQ(kernels::cuda::fp4_matmul(
                MatmulKernel::kAuto, Format::kMxfp4, 48, none, none,
                {DataType::kFloat32, nullptr, nullptr}, nullptr, 0, nullptr)
                .message(),
            "fp4_matmul [4, 4, 48]: columns must be one or more groups of 32");
  EXPECT_EQ(kernels::cuda::fp4_matmul(
                MatmulKernel::kAuto, Format::kMxfp4, 64, none, none,
                {DataType::kFloat16, nullptr, nullptr}, nullptr, 0, nullptr)
                .message(),
            "fp4_matmul [4, 4, 64]: float16 output is not supported");
  // On any device: the columns, the format or the architecture.
  for (const auto& [format, cols] :
       {std::pair{Format::kNvfp4, 48}, {Format::kInt4, 64}}) {
    EXPECT_EQ(kernels::cuda::fp4_matmul(
                  MatmulKernel::kTcgen05, format, cols, none, none,
                  {DataType::kFloat32, nullptr, nullptr}, nullptr, 0, nullptr)
                  .message(),
              "fp4_matmul [4, 4, " + std::to_string(cols) +
                  "]: the tcgen05 kernel needs compute capability 10.0, an "
                  "e2m1 format and columns a multiple of 32");
  }
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  for (const std::int64_t cols : {64, 384}) {
    if (info.architecture != 90) break;
    EXPECT_EQ(kernels::cuda::fp4_matmul(
                  MatmulKernel::kFewHopper, Format::kInt4, cols, none, none,
                  {DataType::kFloat32, nullptr, nullptr}, nullptr, 0, nullptr)
                  .message(),
              "fp4_matmul [4, 4, " + std::to_string(cols) +
                  "]: the kernel for few tokens by warpgroups needs compute "
                  "capability 9.0 and columns a multiple of 256");
  }
  const QuantizedMatrix empty{nullptr, nullptr, 0, 0};
  EXPECT_TRUE(kernels::cuda::fp4_matmul(
                  MatmulKernel::kAuto, Format::kMxfp4, 64, empty, none,
                  {DataType::kFloat32, nullptr, nullptr}, nullptr, 0, nullptr)
                  .ok());
}

}  // namespace
}  // namespace wush
