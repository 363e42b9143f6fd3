#include "kernels/cuda/fp4_matmul.h"

#include <cstring>
#include <tuple>

#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::DataType;
using kernels::cuda::MatmulKernel;
using kernels::cuda::QuantizedMatrix;
using numerics::Format;
using testing::DeviceBuffer;

struct Operand {
  std::vector<std::uint8_t> codes, scales;
  std::vector<double> values;  // decoded but for the unit
};

// Random codes with scales that differ by up to 2^`spread` from group to group.
Operand make_operand(Format format, std::int64_t rows, std::int64_t cols,
                     int spread, std::uint32_t seed) {
  const auto& f = numerics::describe(format);
  std::mt19937 random(seed);
  Operand m;
  for (std::int64_t i = 0; i < rows * cols / 2; ++i) {
    m.codes.push_back(static_cast<std::uint8_t>(random()));
  }
  for (std::int64_t i = 0; i < rows * cols / f.group; ++i) {
    const int step =
        spread == 0 ? 0
                    : static_cast<int>(random() %
                                       static_cast<unsigned>(2 * spread + 1)) -
                          spread;
    if (format == Format::kNvfp4) {
      const int code =
          0x38 + (spread == 0 ? 0 : static_cast<int>(random() % 0x46u));
      m.scales.push_back(static_cast<std::uint8_t>(
          spread == 0 ? code
                      : code - 0x38 + static_cast<int>(random() % 0x38u)));
    } else if (format == Format::kInt4) {
      const std::uint16_t bits = numerics::bfloat16_encode(std::ldexp(
          1.0f + static_cast<float>(random() % 128u) / 128.0f, step));
      m.scales.push_back(static_cast<std::uint8_t>(bits & 255));
      m.scales.push_back(static_cast<std::uint8_t>(bits >> 8));
    } else {
      m.scales.push_back(static_cast<std::uint8_t>(127 + step));
    }
  }
  m.values = testing::decode_by_specification(format, m.codes, m.scales);
  return m;
}

struct Shape {
  std::int64_t tokens, features, cols;
};

std::string kernel_name(MatmulKernel kernel) {
  switch (kernel) {
    case MatmulKernel::kAuto:
      return "auto";
    case MatmulKernel::kSmall:
      return "small";
    case MatmulKernel::kFewHopper:
      return "few_hopper";
    case MatmulKernel::kBatch:
      return "batch";
    case MatmulKernel::kPortable:
      return "portable";
    case MatmulKernel::kHopper:
      return "hopper";
    case MatmulKernel::kTcgen05:
      return "tcgen05";
    case MatmulKernel::kBlockScaled:
      break;
  }
  return "block_scaled";
}

// What a kernel takes columns in multiples of.
std::int64_t columns_of(MatmulKernel kernel) {
  return kernel == MatmulKernel::kFewHopper ? 256
         : kernel == MatmulKernel::kBatch   ? 128
                                            : 1;
}

// Whether it is for compute capability 9.0 only.
bool is_for_hopper(MatmulKernel kernel) {
  return kernel == MatmulKernel::kFewHopper || kernel == MatmulKernel::kBatch ||
         kernel == MatmulKernel::kHopper;
}

void check_operands(MatmulKernel kernel, Format format, const Shape& s,
                    DataType type, bool with_bias, const Operand& a,
                    const Operand& b) {
  DeviceBuffer<std::uint8_t> a_codes(a.codes), a_scales(a.scales),
      b_codes(b.codes), b_scales(b.scales);
  std::vector<float> bias(static_cast<std::size_t>(s.features));
  for (std::size_t i = 0; i < bias.size(); ++i) {
    bias[i] = static_cast<float>(i % 7) - 3.0f;
  }
  DeviceBuffer<float> device_bias(bias);
  const auto size = static_cast<std::size_t>(s.tokens * s.features);
  DeviceBuffer<std::uint8_t> y(size * (type == DataType::kFloat32 ? 4 : 2));
  std::int64_t bytes = 0;
  EXPECT_OK(kernels::cuda::fp4_matmul_workspace(kernel, format, s.tokens,
                                                s.features, s.cols, &bytes));
  DeviceBuffer<std::uint8_t> workspace(static_cast<std::size_t>(bytes));
  EXPECT_OK(kernels::cuda::fp4_matmul(
      kernel, format, s.cols, {a_codes.get(), a_scales.get(), s.tokens, 0},
      {b_codes.get(), b_scales.get(), s.features, 0},
      {type, y.get(), with_bias ? device_bias.get() : nullptr}, workspace.get(),
      bytes, nullptr));
  const auto raw = y.host();
  const double unit = numerics::describe(format).unit;
  for (std::int64_t m = 0; m < s.tokens; ++m) {
    for (std::int64_t n = 0; n < s.features; ++n) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < s.cols; ++k) {
        const double product =
            a.values[static_cast<std::size_t>(m * s.cols + k)] *
            b.values[static_cast<std::size_t>(n * s.cols + k)];
        sum += product;
        magnitude += std::abs(product);
      }
      sum *= unit * unit;
      magnitude *= unit * unit;
      const auto i = static_cast<std::size_t>(m * s.features + n);
      if (with_bias) {
        sum += static_cast<double>(bias[static_cast<std::size_t>(n)]);
        magnitude +=
            std::abs(static_cast<double>(bias[static_cast<std::size_t>(n)]));
      }
      double got;
      // The matrix units add 16 exact products and the sum so far with one
      // truncation each, in units of 2^-23 of the largest term at most: 17
      // terms for each of cols / 16 instructions. Sums of warps and blocks are
      // of 128 columns or more, or 16 at most; with the constant and the bias
      // these are the other roundings.
      double tolerance = (static_cast<double>(s.cols) / 16 * 17 +
                          static_cast<double>(s.cols) / 128 + 18) *
                         std::ldexp(1.0, -23) * magnitude;
      if (type == DataType::kFloat32) {
        float value;
        std::memcpy(&value, raw.data() + 4 * i, 4);
        got = static_cast<double>(value);
      } else {
        std::uint16_t bits;
        std::memcpy(&bits, raw.data() + 2 * i, 2);
        got = static_cast<double>(numerics::bfloat16_decode(bits));
        tolerance += std::ldexp(std::abs(sum), -8);
      }
      // int4 operands are rounded to 8 bits: 2^-9 each.
      if (format == Format::kInt4)
        tolerance += std::ldexp(magnitude, -8) * 1.01;
      ASSERT_NEAR(got, sum, tolerance)
          << "token " << m << " feature " << n << " of " << s.tokens << " x "
          << s.features << " x " << s.cols;
    }
  }
}

void check_product(MatmulKernel kernel, Format format, const Shape& s,
                   DataType type, bool with_bias, int spread) {
  check_operands(kernel, format, s, type, with_bias,
                 make_operand(format, s.tokens, s.cols, spread, 1),
                 make_operand(format, s.features, s.cols, spread, 2));
}

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
                           {32, 100, 120 * 256}, {10, 17000, 2 * 256}}) {
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
// kernel but for the order of the sums.
TEST(CudaFp4MatmulLarge, FewHopperIsTheSameEveryTime) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  if (info.architecture != 90) GTEST_SKIP() << "needs compute capability 9.0";
  std::mt19937 random(3);
  for (const Shape& s : {Shape{16, 24576, 4096}, Shape{32, 8192, 4096},
                         Shape{32, 60000, 512}, Shape{16, 4096, 16384}}) {
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
    std::int64_t bytes = 0;
    EXPECT_OK(kernels::cuda::fp4_matmul_workspace(
        kernel, Format::kMxfp4, s.tokens, s.features, s.cols, &bytes));
    const DeviceBuffer<std::uint8_t> workspace(static_cast<std::size_t>(bytes) +
                                               1);
    Operand a = make_operand(Format::kMxfp4, s.tokens, s.cols, 0, 1);
    Operand b = make_operand(Format::kMxfp4, s.features, s.cols, 0, 2);
    for (auto& scale : a.scales) scale = 252;
    for (auto& scale : b.scales) scale = 0;
    a.values =
        testing::decode_by_specification(Format::kMxfp4, a.codes, a.scales);
    b.values =
        testing::decode_by_specification(Format::kMxfp4, b.codes, b.scales);
    DeviceBuffer<std::uint8_t> a_codes(a.codes), a_scales(a.scales),
        b_codes(b.codes), b_scales(b.scales);
    DeviceBuffer<float> y(20 * 24);
    EXPECT_OK(kernels::cuda::fp4_matmul(
        kernel, Format::kMxfp4, s.cols,
        {a_codes.get(), a_scales.get(), s.tokens, 0},
        {b_codes.get(), b_scales.get(), s.features, 0},
        {DataType::kFloat32, y.get(), nullptr}, workspace.get(), bytes,
        nullptr));
    const auto got = y.host();
    for (std::int64_t m = 0; m < s.tokens; ++m) {
      for (std::int64_t n = 0; n < s.features; ++n) {
        double sum = 0;
        for (std::int64_t k = 0; k < s.cols; ++k) {
          sum += a.values[static_cast<std::size_t>(m * s.cols + k)] *
                 b.values[static_cast<std::size_t>(n * s.cols + k)];
        }
        // All terms are small integers times one power of two: exact but for
        // the constant.
        const double want = sum / 9;
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
  const Shape s{20, 900, 768};
  const auto groups = static_cast<std::size_t>(s.cols / 32);
  const auto decode = [](Operand& m) {
    m.values =
        testing::decode_by_specification(Format::kMxfp4, m.codes, m.scales);
  };
  for (const bool tokens : {false, true}) {
    Operand a = make_operand(Format::kMxfp4, s.tokens, s.cols, 6, 1);
    Operand b = make_operand(Format::kMxfp4, s.features, s.cols, 6, 2);
    b.scales[70 * groups + 3] = 30;
    b.scales[300 * groups + 23] = 160;
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
  const QuantizedMatrix empty{nullptr, nullptr, 0, 0};
  EXPECT_TRUE(kernels::cuda::fp4_matmul(
                  MatmulKernel::kAuto, Format::kMxfp4, 64, empty, none,
                  {DataType::kFloat32, nullptr, nullptr}, nullptr, 0, nullptr)
                  .ok());
}

}  // namespace
}  // namespace wush
