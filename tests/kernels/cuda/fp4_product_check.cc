#include "tests/kernels/cuda/fp4_product_check.h"

#include <cmath>
#include <cstring>
#include <random>

#include "tests/kernels/cuda/support.h"

namespace wush::testing {

using kernels::cuda::DataType;
using kernels::cuda::MatmulKernel;
using numerics::Format;

Fp4Operand make_operand(Format format, std::int64_t rows, std::int64_t cols,
                        int spread, std::uint32_t seed) {
  const auto& f = numerics::describe(format);
  std::mt19937 random(seed);
  Fp4Operand m;
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
  m.values = decode_by_specification(format, m.codes, m.scales);
  return m;
}

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

std::int64_t columns_of(MatmulKernel kernel) {
  return kernel == MatmulKernel::kFewHopper ? 256
         : kernel == MatmulKernel::kBatch   ? 128
                                            : 1;
}

bool is_for_hopper(MatmulKernel kernel) {
  return kernel == MatmulKernel::kFewHopper || kernel == MatmulKernel::kBatch ||
         kernel == MatmulKernel::kHopper;
}

ProductSum sum_products(const ProductShape& s, const Fp4Operand& a,
                        const Fp4Operand& b, std::int64_t m, std::int64_t n) {
  ProductSum of;
  for (std::int64_t k = 0; k < s.cols; ++k) {
    const double product = a.values[static_cast<std::size_t>(m * s.cols + k)] *
                           b.values[static_cast<std::size_t>(n * s.cols + k)];
    of.sum += product;
    of.magnitude += std::abs(product);
  }
  return of;
}

void multiply(MatmulKernel kernel, Format format, const ProductShape& s,
              const Fp4Operand& a, const Fp4Operand& b,
              std::vector<float>* result) {
  const DeviceBuffer<std::uint8_t> a_codes(a.codes), a_scales(a.scales),
      b_codes(b.codes), b_scales(b.scales);
  std::int64_t bytes = 0;
  EXPECT_OK(kernels::cuda::fp4_matmul_workspace(kernel, format, s.tokens,
                                                s.features, s.cols, &bytes));
  const DeviceBuffer<std::uint8_t> workspace(static_cast<std::size_t>(bytes));
  const DeviceBuffer<float> y(static_cast<std::size_t>(s.tokens * s.features));
  EXPECT_OK(kernels::cuda::fp4_matmul(
      kernel, format, s.cols, {a_codes.get(), a_scales.get(), s.tokens, 0},
      {b_codes.get(), b_scales.get(), s.features, 0},
      {DataType::kFloat32, y.get(), nullptr}, workspace.get(), bytes, nullptr));
  *result = y.host();
}

void check_operands(MatmulKernel kernel, Format format, const ProductShape& s,
                    DataType type, bool with_bias, const Fp4Operand& a,
                    const Fp4Operand& b) {
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
  const auto multiply = [&](bool settled, std::vector<std::uint8_t>* result) {
    EXPECT_EQ(cudaMemset(y.get(), 0xff, y.bytes()), cudaSuccess);
    EXPECT_OK(kernels::cuda::fp4_matmul(
        kernel, format, s.cols, {a_codes.get(), a_scales.get(), s.tokens, 0},
        {b_codes.get(), b_scales.get(), s.features, 0, settled},
        {type, y.get(), with_bias ? device_bias.get() : nullptr},
        workspace.get(), bytes, nullptr));
    *result = y.host();
  };
  std::vector<std::uint8_t> raw, settled;
  multiply(false, &raw);
  multiply(true, &settled);
  ASSERT_EQ(settled, raw) << "settled weights";
  const double unit = numerics::describe(format).unit;
  for (std::int64_t m = 0; m < s.tokens; ++m) {
    for (std::int64_t n = 0; n < s.features; ++n) {
      auto [sum, magnitude] = sum_products(s, a, b, m, n);
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

void check_product(MatmulKernel kernel, Format format, const ProductShape& s,
                   DataType type, bool with_bias, int spread) {
  check_operands(kernel, format, s, type, with_bias,
                 make_operand(format, s.tokens, s.cols, spread, 1),
                 make_operand(format, s.features, s.cols, spread, 2));
}

}  // namespace wush::testing
