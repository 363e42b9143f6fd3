#include "kernels/cuda/quantize.h"

#include <tuple>

#include "kernels/numerics/group_quantizer.h"
#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::DataType;
using kernels::cuda::kNoneBad;
using numerics::Format;
using numerics::ScaleRule;
using testing::Data;
using testing::DeviceBuffer;

struct Quantized {
  std::vector<std::uint8_t> codes, scales;
  std::uint64_t first_bad;
};

void run_quantize(Format format, ScaleRule rule, float unit,
                  const testing::Stored& x, std::int64_t rows,
                  std::int64_t cols, int hadamard, Quantized* result) {
  const auto& f = numerics::describe(format);
  DeviceBuffer<std::uint8_t> device_x(x.bytes);
  const auto size = static_cast<std::size_t>(rows * cols);
  DeviceBuffer<std::uint8_t> codes(size / 2);
  DeviceBuffer<std::uint8_t> scales(size / static_cast<std::size_t>(f.group) *
                                    static_cast<std::size_t>(f.scale_bytes()));
  DeviceBuffer<std::uint64_t> bad(std::vector<std::uint64_t>{kNoneBad});
  EXPECT_OK(kernels::cuda::quantize(
      format, rule, unit, x.type, device_x.get(), rows, cols, hadamard,
      {codes.get(), scales.get(), bad.get()}, nullptr));
  CUDA_OK(cudaDeviceSynchronize());
  *result = {codes.host(), scales.host(), bad.host()[0]};
}

using Case = std::tuple<Format, ScaleRule, DataType, Data>;

class CudaQuantize : public ::testing::TestWithParam<Case> {};

TEST_P(CudaQuantize, GivesTheBitsOfTheSpecification) {
  WUSH_REQUIRE_GPU();
  const auto [format, rule, type, data] = GetParam();
  for (const auto& [rows, cols] :
       {std::pair{1, 32}, {3, 96}, {67, 1120}, {256, 4096}}) {
    const auto x = testing::store_as(
        type, testing::make_data(data, static_cast<std::size_t>(rows * cols),
                                 static_cast<std::uint32_t>(rows)));
    Quantized got;
    ASSERT_NO_FATAL_FAILURE(
        run_quantize(format, rule, 0, x, rows, cols, 0, &got));
    const auto want =
        testing::quantize_by_specification(format, rule, 0, x.values);
    EXPECT_EQ(got.scales, want.scales) << rows << " x " << cols;
    EXPECT_EQ(got.codes, want.codes) << rows << " x " << cols;
    EXPECT_EQ(got.first_bad, kNoneBad);
  }
}

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  const auto& [format, rule, type, data] = info.param;
  return testing::test_name(
      std::string(numerics::describe(format).name) + "_" +
      std::string(numerics::kScaleRuleNames[static_cast<std::size_t>(rule)]) +
      "_" + testing::name_of(type) + "_" + testing::name_of(data));
}

INSTANTIATE_TEST_SUITE_P(
    Formats, CudaQuantize,
    ::testing::Combine(::testing::Values(Format::kMxfp4, Format::kNvfp4,
                                         Format::kInt4, Format::kMxfp4Ocp),
                       ::testing::Values(ScaleRule::kAbsMax, ScaleRule::kMse2,
                                         ScaleRule::kSearch),
                       ::testing::Values(DataType::kBfloat16,
                                         DataType::kFloat16,
                                         DataType::kFloat32),
                       ::testing::Values(Data::kNormal, Data::kHeavyTailed,
                                         Data::kSubnormal, Data::kPowersOfTwo,
                                         Data::kEighths, Data::kZeros)),
    case_name);

TEST(CudaQuantizeTensorUnit, GivesTheBitsOfTheSpecification) {
  WUSH_REQUIRE_GPU();
  const auto x = testing::store_as(
      DataType::kBfloat16, testing::make_data(Data::kHeavyTailed, 64 * 512, 3));
  float amax = 0;
  for (const float v : x.values) amax = std::max(amax, std::abs(v));
  // The last two are beyond the fast decision of rule mse2.
  for (const float unit :
       {numerics::amax_unit(Format::kNvfp4, amax), 0.01f, 0x1p-60f, 0x1p60f}) {
    for (const ScaleRule rule : {ScaleRule::kAbsMax, ScaleRule::kMse2}) {
      Quantized got;
      ASSERT_NO_FATAL_FAILURE(
          run_quantize(Format::kNvfp4, rule, unit, x, 64, 512, 0, &got));
      const auto want = testing::quantize_by_specification(Format::kNvfp4, rule,
                                                           unit, x.values);
      EXPECT_EQ(got.scales, want.scales) << unit;
      EXPECT_EQ(got.codes, want.codes) << unit;
    }
  }
}

TEST(CudaQuantizeLargest, GroupsAtTheEndOfTheRange) {
  WUSH_REQUIRE_GPU();
  const float largest = std::numeric_limits<float>::max();
  std::vector<float> values(64 * 32);
  for (std::size_t i = 0; i < values.size(); ++i) {
    // Rows of every power of two from 2^127 down, and of the smallest floats.
    const int row = static_cast<int>(i / 32);
    const float top =
        row < 32 ? std::ldexp(largest, -row) : std::ldexp(1.0f, -118 - row);
    values[i] = top * (static_cast<float>(i % 32) - 15.5f) / 15.5f;
  }
  const auto x = testing::store_as(DataType::kFloat32, values);
  for (const Format format :
       {Format::kMxfp4, Format::kNvfp4, Format::kMxfp4Ocp}) {
    for (const ScaleRule rule : {ScaleRule::kAbsMax, ScaleRule::kMse2}) {
      Quantized got;
      ASSERT_NO_FATAL_FAILURE(
          run_quantize(format, rule, 0, x, 64, 32, 0, &got));
      const auto want =
          testing::quantize_by_specification(format, rule, 0, x.values);
      EXPECT_EQ(got.scales, want.scales) << numerics::describe(format).name;
      EXPECT_EQ(got.codes, want.codes) << numerics::describe(format).name;
    }
  }
}

TEST(CudaQuantizeNotFinite, NamesTheFirstIndex) {
  WUSH_REQUIRE_GPU();
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    auto values = testing::make_data(Data::kNormal, 40 * 256, 1);
    values[7000] = std::numeric_limits<float>::infinity();
    values[5003] = std::numeric_limits<float>::quiet_NaN();
    values[5005] = -std::numeric_limits<float>::infinity();
    const auto x = testing::store_as(DataType::kBfloat16, values);
    Quantized got;
    ASSERT_NO_FATAL_FAILURE(
        run_quantize(format, ScaleRule::kAbsMax, 0, x, 40, 256, 0, &got));
    EXPECT_EQ(got.first_bad, 5003u) << numerics::describe(format).name;
  }
  // Finite values whose int4 step is beyond bfloat16.
  std::vector<float> values(4 * 32, 1.0f);
  for (std::size_t i = 64; i < 96; ++i) values[i] = 3e38f;
  Quantized got;
  ASSERT_NO_FATAL_FAILURE(run_quantize(
      Format::kInt4, ScaleRule::kAbsMax, 0,
      testing::store_as(DataType::kFloat32, values), 4, 32, 0, &got));
  EXPECT_EQ(got.first_bad, 64u);
}

// The butterfly on the host, in the order that quantize.h states.
std::vector<float> butterfly(std::vector<float> x, std::size_t block) {
  const auto scale =
      static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
  for (std::size_t start = 0; start < x.size(); start += block) {
    for (std::size_t apart = 1; apart < block; apart *= 2) {
      for (std::size_t i = start; i < start + block; ++i) {
        if (((i - start) & apart) != 0) continue;
        const float a = x[i], b = x[i + apart];
        x[i] = a + b;
        x[i + apart] = a - b;
      }
    }
    for (std::size_t i = start; i < start + block; ++i) x[i] *= scale;
  }
  return x;
}

TEST(CudaQuantizeHadamard, GivesTheBitsOfTheSpecification) {
  WUSH_REQUIRE_GPU();
  const auto x = testing::store_as(
      DataType::kBfloat16, testing::make_data(Data::kHeavyTailed, 33 * 384, 9));
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    for (const int block : {16, 32, 64, 128}) {
      const auto transformed =
          butterfly(x.values, static_cast<std::size_t>(block));
      for (const ScaleRule rule : {ScaleRule::kAbsMax, ScaleRule::kMse2}) {
        Quantized got;
        ASSERT_NO_FATAL_FAILURE(
            run_quantize(format, rule, 0, x, 33, 384, block, &got));
        const auto want =
            testing::quantize_by_specification(format, rule, 0, transformed);
        EXPECT_EQ(got.scales, want.scales) << block;
        EXPECT_EQ(got.codes, want.codes) << block;
      }
    }
  }
}

// So many values that every warp takes at least two turns and the last is not
// whole: rows that repeat, 2.03 times what 32 thread blocks of each
// multiprocessor take in a turn.
TEST(CudaQuantizeLarge, EveryTurnGivesTheBitsOfTheSpecification) {
  WUSH_REQUIRE_GPU();
  kernels::cuda::DeviceInfo info;
  EXPECT_OK(kernels::cuda::device_info(&info));
  constexpr std::size_t kCols = 4128, kPeriod = 61;
  const auto rows_in_all =
      129 * static_cast<std::size_t>(info.multiprocessors) + 1;
  const auto values =
      testing::make_data(Data::kHeavyTailed, kPeriod * kCols, 5);
  const auto repeat = [&](const auto& rows, std::size_t row_bytes) {
    std::vector<std::uint8_t> all;
    all.reserve(rows_in_all * row_bytes);
    for (std::size_t r = 0; r < rows_in_all; ++r) {
      const auto from =
          rows.begin() + static_cast<std::ptrdiff_t>(r % kPeriod * row_bytes);
      all.insert(all.end(), from,
                 from + static_cast<std::ptrdiff_t>(row_bytes));
    }
    return all;
  };
  const auto period = testing::store_as(DataType::kBfloat16, values);
  testing::Stored x{period.type, repeat(period.bytes, kCols * 2), {}};
  const auto transformed = butterfly(period.values, 32);
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    for (const ScaleRule rule : {ScaleRule::kAbsMax, ScaleRule::kMse2}) {
      for (const int hadamard : {0, 32}) {
        Quantized got;
        ASSERT_NO_FATAL_FAILURE(run_quantize(
            format, rule, 0, x, static_cast<std::int64_t>(rows_in_all), kCols,
            hadamard, &got));
        const auto want = testing::quantize_by_specification(
            format, rule, 0, hadamard == 0 ? period.values : transformed);
        const auto name = numerics::describe(format).name;
        EXPECT_TRUE(got.codes == repeat(want.codes, kCols / 2)) << name;
        EXPECT_TRUE(got.scales ==
                    repeat(want.scales, want.scales.size() / kPeriod))
            << name;
      }
    }
  }
}

TEST(CudaDequantize, EveryCodeOfEveryScale) {
  WUSH_REQUIRE_GPU();
  for (const Format format :
       {Format::kMxfp4, Format::kNvfp4, Format::kInt4, Format::kMxfp4Ocp}) {
    const auto& f = numerics::describe(format);
    const auto group = static_cast<std::size_t>(f.group);
    const std::size_t groups = f.scale_bytes() == 2 ? 65536 : 256;
    std::vector<std::uint8_t> codes, scales;
    std::vector<float> want;
    for (std::size_t s = 0; s < groups; ++s) {
      scales.push_back(static_cast<std::uint8_t>(s & 255));
      if (f.scale_bytes() == 2) {
        scales.push_back(static_cast<std::uint8_t>(s >> 8));
      }
      for (std::size_t c = 0; c < group; c += 2) {
        codes.push_back(
            static_cast<std::uint8_t>((c & 15) | ((c + 1) & 15) << 4));
      }
      numerics::dispatch_format(format, [&]<Format F>() {
        using Quantizer = numerics::GroupQuantizer<F, float>;
        for (std::size_t c = 0; c < group; ++c) {
          want.push_back(
              Quantizer::element(static_cast<std::uint8_t>(c & 15)) *
              Quantizer{}.decode_multiplier(static_cast<std::uint16_t>(s)));
        }
      });
    }
    DeviceBuffer<std::uint8_t> device_codes(codes), device_scales(scales);
    DeviceBuffer<float> out(want.size());
    EXPECT_OK(kernels::cuda::dequantize(
        format,
        {device_codes.get(), device_scales.get(),
         static_cast<std::int64_t>(groups), 0},
        f.group, DataType::kFloat32, out.get(), nullptr));
    const auto got = out.host();
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (std::isnan(want[i]) && std::isnan(got[i])) continue;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]),
                std::bit_cast<std::uint32_t>(want[i]))
          << f.name << " scale " << i / group << " code " << (i % group & 15);
    }
  }
}

TEST(CudaQuantizeRefusals, NameKernelAndShape) {
  WUSH_REQUIRE_GPU();
  const kernels::cuda::QuantizedOutput out{nullptr, nullptr, nullptr};
  const auto status = kernels::cuda::quantize(
      Format::kMxfp4, ScaleRule::kAbsMax, 0, DataType::kBfloat16, nullptr, 3,
      48, 0, out, nullptr);
  EXPECT_EQ(status.message(),
            "quantize [3, 48]: columns must be a multiple of the group of 32");
  EXPECT_FALSE(kernels::cuda::quantize(Format::kMxfp4, ScaleRule::kAbsMax, 0.5f,
                                       DataType::kBfloat16, nullptr, 3, 64, 0,
                                       out, nullptr)
                   .ok());
  EXPECT_FALSE(kernels::cuda::quantize(Format::kMxfp4, ScaleRule::kAbsMax, 0,
                                       DataType::kBfloat16, nullptr, 3, 64, 24,
                                       out, nullptr)
                   .ok());
  EXPECT_TRUE(kernels::cuda::quantize(Format::kMxfp4, ScaleRule::kAbsMax, 0,
                                      DataType::kBfloat16, nullptr, 0, 64, 0,
                                      out, nullptr)
                  .ok());
}

}  // namespace
}  // namespace wush
