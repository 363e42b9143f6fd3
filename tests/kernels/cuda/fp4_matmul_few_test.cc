// Products with few tokens, whose kernels share columns and decode narrow
// scales in one multiplication.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "kernels/cuda/fp4_matmul.h"
#include "tests/kernels/cuda/fp4_product_check.h"
#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::DataType;
using kernels::cuda::MatmulKernel;
using numerics::Format;
using testing::DeviceBuffer;
using Shape = testing::ProductShape;
using testing::check_product;
using testing::is_for_hopper;
using testing::kernel_name;
using Operand = testing::Fp4Operand;
using testing::check_operands;
using testing::columns_of;
using testing::make_operand;

// Few tokens: many sizes of a cluster, of a group of warps and of a token tile,
// columns that blocks share unevenly and that end within a stage or pair, more
// than the largest tile of tokens or any has room for, tiles that one block and
// that many blocks compute, and tiles that are not full.
class CudaFp4MatmulFew : public ::testing::TestWithParam<MatmulKernel> {};

TEST_P(CudaFp4MatmulFew, SharedColumns) {
  WUSH_REQUIRE_GPU();
  const MatmulKernel kernel = GetParam();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (is_for_hopper(kernel) && info.architecture != 90) {
    GTEST_SKIP() << "needs compute capability 9.0";
  }
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    for (const Shape& s : {Shape{1, 130, 128},   {1, 1003, 5 * 1024 + 96},
                           {1, 8, 17 * 1024},    {8, 5, 9 * 128},
                           {3, 4500, 5 * 128},   {12, 17000, 3 * 128},
                           {20, 3000, 7 * 128},  {2, 128, 90 * 128},
                           {15, 260, 75 * 128},  {31, 1030, 37 * 128},
                           {9, 5000, 40 * 128},  {17, 5300, 21 * 128},
                           {16, 2200, 33 * 128}, {32, 40, 231 * 128},
                           {18, 30, 301 * 128},  {5, 20, 561 * 128},
                           {40, 200, 11 * 128},  {70, 600, 12 * 128},
                           {4, 70, 256},         {16, 9000, 5 * 256},
                           {13, 300, 23 * 256},  {24, 4160, 9 * 256},
                           {32, 100, 120 * 256}, {10, 17000, 2 * 256},
                           {6, 900, 20 * 256},   {11, 900, 18 * 256},
                           {29, 300, 34 * 256}}) {
      if (s.cols % columns_of(kernel) != 0) continue;
      for (const int spread : {0, 6}) {
        ASSERT_NO_FATAL_FAILURE(
            check_product(kernel, format, s, DataType::kFloat32, true, spread));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, CudaFp4MatmulFew,
                         ::testing::Values(MatmulKernel::kSmall,
                                           MatmulKernel::kFewHopper,
                                           MatmulKernel::kBatch),
                         [](const auto& param) {
                           return kernel_name(param.param);
                         });

// Rings that are refilled as soon as they have been read, and sums that cross
// between blocks all the time: the same bits every time, and those of another
// kernel but for the order of the sums. The last shape takes clusters of
// fourteen blocks, the last of which gets no sums and must not run ahead of the
// others, thirteen tiles a warpgroup.
TEST(CudaFp4MatmulLarge, FewHopperIsTheSameEveryTime) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (info.architecture != 90) GTEST_SKIP() << "needs compute capability 9.0";
  std::mt19937 random(3);
  for (const Shape& s :
       {Shape{16, 24576, 4096}, Shape{32, 8192, 4096}, Shape{32, 60000, 512},
        Shape{16, 4096, 16384}, Shape{32, 17408, 24832}}) {
    const auto bytes_of = [&](std::int64_t size, unsigned lowest,
                              unsigned count) {
      std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
      for (auto& b : bytes) {
        b = static_cast<std::uint8_t>(lowest + random() % count);
      }
      return bytes;
    };
    const DeviceBuffer<std::uint8_t> w_codes(
        bytes_of(s.features * s.cols / 2, 0, 256)),
        w_scales(bytes_of(s.features * s.cols / 32, 124, 6)),
        x_codes(bytes_of(s.tokens * s.cols / 2, 0, 256)),
        x_scales(bytes_of(s.tokens * s.cols / 32, 124, 6));
    const DeviceBuffer<float> y(
        static_cast<std::size_t>(s.tokens * s.features));
    const auto run = [&](MatmulKernel kernel, std::vector<float>* result) {
      EXPECT_OK(kernels::cuda::fp4_matmul(
          kernel, Format::kMxfp4, s.cols,
          {x_codes.get(), x_scales.get(), s.tokens, 0},
          {w_codes.get(), w_scales.get(), s.features, 0},
          {DataType::kFloat32, y.get(), nullptr}, nullptr, 0, nullptr));
      *result = y.host();
    };
    std::vector<float> other, first, again;
    ASSERT_NO_FATAL_FAILURE(run(MatmulKernel::kSmall, &other));
    ASSERT_NO_FATAL_FAILURE(run(MatmulKernel::kFewHopper, &first));
    // A window of other weights would change an output by an eighth of a
    // typical one or more (of 16384 columns 256). Rounding: up to 1024
    // truncations of sums a few times that, 2^-23 each, and as many in the
    // other kernel.
    double square = 0;
    for (const float v : other) square += static_cast<double>(v * v);
    const double typical =
        std::sqrt(square / static_cast<double>(other.size()));
    for (std::size_t i = 0; i < first.size(); ++i) {
      ASSERT_NEAR(first[i], other[i], 1e-3 * typical) << i;
    }
    for (int i = 0; i < 20; ++i) {
      ASSERT_NO_FATAL_FAILURE(run(MatmulKernel::kFewHopper, &again));
      ASSERT_EQ(again, first) << i;
    }
  }
}

// Scales at the ends of e8m0's range, and their products near 1.
TEST(CudaFp4MatmulExtremes, ScalesFarApart) {
  WUSH_REQUIRE_GPU();
  const Shape s{20, 24, 256};
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  for (const MatmulKernel kernel :
       {MatmulKernel::kSmall, MatmulKernel::kAuto, MatmulKernel::kFewHopper,
        MatmulKernel::kBatch}) {
    if (is_for_hopper(kernel) && info.architecture != 90) continue;
    Operand a = make_operand(Format::kMxfp4, s.tokens, s.cols, 0, 1);
    Operand b = make_operand(Format::kMxfp4, s.features, s.cols, 0, 2);
    for (auto& scale : a.scales) scale = 252;
    for (auto& scale : b.scales) scale = 0;
    a.values =
        testing::decode_by_specification(Format::kMxfp4, a.codes, a.scales);
    b.values =
        testing::decode_by_specification(Format::kMxfp4, b.codes, b.scales);
    std::vector<float> got;
    ASSERT_NO_FATAL_FAILURE(
        testing::multiply(kernel, Format::kMxfp4, s, a, b, &got));
    for (std::int64_t m = 0; m < s.tokens; ++m) {
      for (std::int64_t n = 0; n < s.features; ++n) {
        // All terms are small integers times one power of two: exact but for
        // the constant.
        const double want = testing::sum_products(s, a, b, m, n).sum / 9;
        ASSERT_NEAR(static_cast<double>(
                        got[static_cast<std::size_t>(m * s.features + n)]),
                    want, std::abs(want) * std::ldexp(1.0, -22));
      }
    }
  }
}

// Tiles whose scales allow one multiplication a weight beside tiles, groups and
// tokens that do not, and groups of zeros with the scale byte 0.
TEST(CudaFp4MatmulExtremes, SomeScalesFarFromOne) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  const auto decode = [](Operand& m) {
    m.values =
        testing::decode_by_specification(Format::kMxfp4, m.codes, m.scales);
  };
  // Rows of scales that are multiples of 16 bytes, and others.
  for (const auto& [cols, tokens] :
       {std::pair{768, false}, {768, true}, {1024, false}, {1024, true}}) {
    const Shape s{20, 900, cols};
    const auto groups = static_cast<std::size_t>(s.cols / 32);
    Operand a = make_operand(Format::kMxfp4, s.tokens, s.cols, 6, 1);
    Operand b = make_operand(Format::kMxfp4, s.features, s.cols, 6, 2);
    b.scales[70 * groups + 3] = 30;
    b.scales[300 * groups + 23] = 200;
    b.scales[301 * groups] = 151;
    b.scales[640 * groups + 12] = 86;
    for (std::size_t row = 400; row < 500; ++row) {
      const std::size_t group = row * groups + row % groups;
      b.scales[group] = 0;
      std::fill_n(b.codes.begin() + static_cast<std::ptrdiff_t>(16 * group), 16,
                  std::uint8_t{0});
    }
    if (tokens) a.scales[7 * groups + 5] = 60;
    decode(a);
    decode(b);
    for (const MatmulKernel kernel :
         {MatmulKernel::kSmall, MatmulKernel::kAuto, MatmulKernel::kFewHopper,
          MatmulKernel::kBatch}) {
      if (is_for_hopper(kernel) && info.architecture != 90) continue;
      ASSERT_NO_FATAL_FAILURE(check_operands(kernel, Format::kMxfp4, s,
                                             DataType::kFloat32, false, a, b));
    }
  }
}

// Sums that need all bits that a group's sum may have, from tokens whose scale
// is up to 2^27 below that of the window's other groups, and from others:
// equal, not only close, to what is exact in float32.
TEST(CudaFp4MatmulExtremes, GroupSumsAreExact) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  constexpr Format kFormat = Format::kMxfp4Ocp;  // no constant
  std::mt19937 random(11);
  // Mostly 6 times 6; smaller ones make the last bits. All of a row have one
  // sign, or any.
  const auto make_codes = [&](std::int64_t rows, std::int64_t cols) {
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * cols / 2));
    const auto of_row = static_cast<std::size_t>(cols / 2);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      for (int half = 0; half < 2; ++half) {
        const unsigned kind = random() % 16;
        const unsigned magnitude = kind == 0 ? 1 : kind == 1 ? random() % 8 : 7;
        const unsigned sign = i / of_row % 2 == 0 ? 0 : random() % 2;
        codes[i] |=
            static_cast<std::uint8_t>((magnitude | sign << 3) << (4 * half));
      }
    }
    return codes;
  };
  for (const std::int64_t tokens : {7, 16, 29}) {
    const Shape s{tokens, 300, 512};
    const auto groups = static_cast<std::size_t>(s.cols / 32);
    const auto row_bytes = static_cast<std::size_t>(s.cols / 2);
    Operand a, b;
    a.codes = make_codes(s.tokens, s.cols);
    b.codes = make_codes(s.features, s.cols);
    a.scales.assign(static_cast<std::size_t>(s.tokens) * groups, 127);
    b.scales.assign(static_cast<std::size_t>(s.features) * groups, 127);
    // Tokens 0 .. 27: one group of each, others zero with the larger scale.
    for (std::size_t m = 0;
         m < std::min<std::size_t>(28, a.codes.size() / row_bytes); ++m) {
      const std::size_t only = (5 * m + 3) % groups;
      for (std::size_t i = 0; i < row_bytes; ++i) {
        if (i / 16 != only) a.codes[m * row_bytes + i] = 0;
      }
      a.scales[m * groups + only] = static_cast<std::uint8_t>(127 - m);
    }
    a.values = testing::decode_by_specification(kFormat, a.codes, a.scales);
    b.values = testing::decode_by_specification(kFormat, b.codes, b.scales);
    for (const MatmulKernel kernel :
         {MatmulKernel::kSmall, MatmulKernel::kFewHopper}) {
      if (is_for_hopper(kernel) && info.architecture != 90) continue;
      std::vector<float> got;
      ASSERT_NO_FATAL_FAILURE(
          testing::multiply(kernel, kFormat, s, a, b, &got));
      for (std::int64_t m = 0; m < s.tokens; ++m) {
        for (std::int64_t n = 0; n < s.features; ++n) {
          ASSERT_EQ(static_cast<double>(
                        got[static_cast<std::size_t>(m * s.features + n)]),
                    testing::sum_products(s, a, b, m, n).sum)
              << kernel_name(kernel) << ", token " << m << ", feature " << n;
        }
      }
    }
  }
}

// Every lane looks at scales of its own: a row of the smallest ones, for which
// what is taken for granted gives 0, at every place of a warp's sixteen.
TEST(CudaFp4MatmulExtremes, AnyRowMayHaveTheSmallestScales) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (info.architecture != 90) GTEST_SKIP() << "needs compute capability 9.0";
  constexpr Format kFormat = Format::kMxfp4Ocp;  // no constant
  for (const Shape& s : {Shape{16, 80, 512}, Shape{9, 80, 768}}) {
    const Operand a = make_operand(kFormat, s.tokens, s.cols, 0, 1);
    const Operand usual = make_operand(kFormat, s.features, s.cols, 0, 2);
    const auto groups = static_cast<std::size_t>(s.cols / 32);
    for (std::size_t row = 0; row < 80; row += 7) {
      Operand b = usual;
      std::fill_n(b.scales.begin() + static_cast<std::ptrdiff_t>(row * groups),
                  groups, std::uint8_t{0});
      b.values = testing::decode_by_specification(kFormat, b.codes, b.scales);
      std::vector<float> got;
      ASSERT_NO_FATAL_FAILURE(
          testing::multiply(MatmulKernel::kFewHopper, kFormat, s, a, b, &got));
      for (std::int64_t m = 0; m < s.tokens; ++m) {
        for (std::int64_t n = 0; n < s.features; ++n) {
          const auto [sum, magnitude] = testing::sum_products(s, a, b, m, n);
          // Group sums are exact, and so are products with scales; what is
          // added to 24 groups and 3 windows or fewer is rounded, 2^-24 each.
          ASSERT_NEAR(static_cast<double>(
                          got[static_cast<std::size_t>(m * s.features + n)]),
                      sum, magnitude * 0x1p-19)
              << "row " << row << ": token " << m << ", feature " << n;
        }
      }
    }
  }
}

// Tokens whose groups' scales lie further apart than operands have room for.
TEST(CudaFp4MatmulExtremes, TokensFarApart) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  for (const MatmulKernel kernel :
       {MatmulKernel::kSmall, MatmulKernel::kFewHopper, MatmulKernel::kBatch}) {
    if (is_for_hopper(kernel) && info.architecture != 90) continue;
    for (const Shape& s :
         {Shape{7, 130, 768}, Shape{16, 300, 2304}, Shape{27, 70, 512}}) {
      for (const int spread : {13, 14, 20}) {
        ASSERT_NO_FATAL_FAILURE(check_product(
            kernel, Format::kMxfp4, s, DataType::kFloat32, false, spread));
      }
    }
  }
}

}  // namespace
}  // namespace wush
