#include "kernels/cuda/block_transform.h"

#include <tuple>

#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::BlockTransform;
using kernels::cuda::DataType;
using kernels::cuda::kNoneBad;
using numerics::Format;
using numerics::ScaleRule;
using testing::Data;
using testing::DeviceBuffer;

struct Problem {
  std::int64_t rows, cols;
  int block;
  bool shared;
  testing::Stored x;
  testing::Stored t;
};

Problem make_problem(std::int64_t rows, std::int64_t cols, int block,
                     bool shared, DataType type, Data data) {
  Problem p{rows, cols, block, shared, {}, {}};
  p.x = testing::store_as(
      type, testing::make_data(data, static_cast<std::size_t>(rows * cols), 5));
  const std::int64_t matrices = shared ? 1 : cols / block;
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> t(static_cast<std::size_t>(matrices * block * block));
  for (float& v : t) v = normal(random);
  p.t = testing::store_as(DataType::kBfloat16, t);
  return p;
}

// y and the sums of the magnitudes of the products, in double.
struct Reference {
  std::vector<double> y, magnitude;
};

Reference transform(const Problem& p) {
  const auto size = static_cast<std::size_t>(p.rows * p.cols);
  Reference r{std::vector<double>(size), std::vector<double>(size)};
  for (std::int64_t row = 0; row < p.rows; ++row) {
    for (std::int64_t c = 0; c < p.cols; ++c) {
      const std::int64_t first = c / p.block * p.block;
      const std::int64_t matrix = p.shared ? 0 : c / p.block;
      double sum = 0, magnitude = 0;
      for (int k = 0; k < p.block; ++k) {
        const double product =
            static_cast<double>(p.t.values[static_cast<std::size_t>(
                (matrix * p.block + c - first) * p.block + k)]) *
            static_cast<double>(
                p.x.values[static_cast<std::size_t>(row * p.cols + first + k)]);
        sum += product;
        magnitude += std::abs(product);
      }
      r.y[static_cast<std::size_t>(row * p.cols + c)] = sum;
      r.magnitude[static_cast<std::size_t>(row * p.cols + c)] = magnitude;
    }
  }
  return r;
}

std::string shape_name(int block, bool shared) {
  return "block" + std::to_string(block) + (shared ? "_shared" : "_own");
}

class CudaBlockTransform
    : public ::testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(CudaBlockTransform, IsTheProductInFloat32) {
  WUSH_REQUIRE_GPU();
  const auto [block, shared] = GetParam();
  for (const auto& [rows, blocks] : {std::pair{1, 1}, {37, 5}, {300, 3}}) {
    const Problem p = make_problem(rows, blocks * block, block, shared,
                                   DataType::kBfloat16, Data::kHeavyTailed);
    DeviceBuffer<std::uint8_t> x(p.x.bytes), t(p.t.bytes);
    DeviceBuffer<float> wide(p.x.values.size());
    DeviceBuffer<std::uint16_t> narrow(p.x.values.size());
    const BlockTransform transform_call{t.get(), block, shared};
    EXPECT_OK(kernels::cuda::block_transform(transform_call, x.get(), p.rows,
                                             p.cols, DataType::kFloat32,
                                             wide.get(), nullptr));
    EXPECT_OK(kernels::cuda::block_transform(transform_call, x.get(), p.rows,
                                             p.cols, DataType::kBfloat16,
                                             narrow.get(), nullptr));
    const auto y = wide.host();
    const auto y16 = narrow.host();
    const Reference want = transform(p);
    // Products are exact; each of the block's additions loses at most one unit
    // of the last of 23 bits (the matrix units truncate) of a partial sum,
    // which is at most the sum of magnitudes.
    const double unit = block * std::ldexp(1.0, -23);
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(y[i]), want.y[i],
                  unit * want.magnitude[i])
          << i;
      ASSERT_EQ(y16[i], numerics::bfloat16_encode(y[i])) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaBlockTransform,
                         ::testing::Combine(::testing::Values(16, 32, 64, 128),
                                            ::testing::Bool()),
                         [](const auto& param) {
                           return shape_name(std::get<0>(param.param),
                                             std::get<1>(param.param));
                         });

using Case = std::tuple<Format, ScaleRule, int, bool>;

class CudaTransformQuantize : public ::testing::TestWithParam<Case> {};

// Given the transformed values, codes and scales are those of the
// specification.
void check_quantized(Format format, ScaleRule rule, int block, bool shared,
                     std::int64_t rows, std::int64_t blocks,
                     Data data = Data::kHeavyTailed) {
  const auto& f = numerics::describe(format);
  const Problem p = make_problem(rows, blocks * block, block, shared,
                                 DataType::kBfloat16, data);
  const std::size_t size = p.x.values.size();
  DeviceBuffer<std::uint8_t> x(p.x.bytes), t(p.t.bytes), codes(size / 2);
  DeviceBuffer<std::uint8_t> scales(size / static_cast<std::size_t>(f.group) *
                                    static_cast<std::size_t>(f.scale_bytes()));
  DeviceBuffer<std::uint64_t> bad(std::vector<std::uint64_t>{kNoneBad});
  DeviceBuffer<float> y(size);
  const BlockTransform transform_call{t.get(), block, shared};
  EXPECT_OK(kernels::cuda::block_transform(transform_call, x.get(), p.rows,
                                           p.cols, DataType::kFloat32, y.get(),
                                           nullptr));
  EXPECT_OK(kernels::cuda::block_transform_quantize(
      transform_call, format, rule, 0, DataType::kBfloat16, x.get(), p.rows,
      p.cols, {codes.get(), scales.get(), bad.get()}, nullptr));
  const auto want =
      testing::quantize_by_specification(format, rule, 0, y.host());
  EXPECT_EQ(scales.host(), want.scales) << rows << " x " << p.cols;
  EXPECT_EQ(codes.host(), want.codes) << rows << " x " << p.cols;
  EXPECT_EQ(bad.host()[0], kNoneBad);
}

TEST_P(CudaTransformQuantize, QuantizesTheTransformedValuesExactly) {
  WUSH_REQUIRE_GPU();
  const auto [format, rule, block, shared] = GetParam();
  for (const auto& [rows, blocks] : {std::pair{1, 1}, {37, 5}, {300, 3}}) {
    for (const Data data : {Data::kHeavyTailed, Data::kNormal}) {
      ASSERT_NO_FATAL_FAILURE(
          check_quantized(format, rule, block, shared, rows, blocks, data));
    }
  }
}

// Every kernel once, on shapes that the sanitizers get through.
TEST(CudaTransformSanitize, EveryKernel) {
  WUSH_REQUIRE_GPU();
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    for (const ScaleRule rule :
         {ScaleRule::kAbsMax, ScaleRule::kMse2, ScaleRule::kSearch}) {
      for (const int block : {32, 64, 128}) {
        ASSERT_NO_FATAL_FAILURE(
            check_quantized(format, rule, block, false, 21, 2));
      }
    }
  }
}

std::vector<Case> quantize_cases() {
  std::vector<Case> cases;
  for (const Format format :
       {Format::kMxfp4, Format::kNvfp4, Format::kInt4, Format::kMxfp4Ocp}) {
    for (const ScaleRule rule :
         {ScaleRule::kAbsMax, ScaleRule::kMse2, ScaleRule::kSearch}) {
      for (const int block : {16, 32, 64, 128}) {
        if (block % numerics::describe(format).group != 0) continue;
        for (const bool shared : {false, true}) {
          cases.emplace_back(format, rule, block, shared);
        }
      }
    }
  }
  return cases;
}

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  const auto& [format, rule, block, shared] = info.param;
  return testing::test_name(
      std::string(numerics::describe(format).name) + "_" +
      std::string(numerics::kScaleRuleNames[static_cast<std::size_t>(rule)]) +
      "_" + shape_name(block, shared));
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaTransformQuantize,
                         ::testing::ValuesIn(quantize_cases()), case_name);

using TypeCase = std::tuple<DataType, int>;
class CudaTransformTypes : public ::testing::TestWithParam<TypeCase> {};

// End to end against the double-precision product rounded to float32: wider
// inputs lose nothing, so only sums that fall beside a rounding boundary
// differ.
TEST_P(CudaTransformTypes, FewCodesDifferFromTheExactProduct) {
  WUSH_REQUIRE_GPU();
  const auto [type, block] = GetParam();
  const Problem p =
      make_problem(256, 5 * block, block, false, type, Data::kNormal);
  const std::size_t size = p.x.values.size();
  const Reference exact = transform(p);
  const std::vector<float> y(exact.y.begin(), exact.y.end());
  for (const Format format : {Format::kMxfp4, Format::kNvfp4, Format::kInt4}) {
    const auto& f = numerics::describe(format);
    if (block % f.group != 0) continue;
    DeviceBuffer<std::uint8_t> x(p.x.bytes), t(p.t.bytes), codes(size / 2);
    DeviceBuffer<std::uint8_t> scales(
        size / static_cast<std::size_t>(f.group) *
        static_cast<std::size_t>(f.scale_bytes()));
    EXPECT_OK(kernels::cuda::block_transform_quantize(
        {t.get(), block, false}, format, ScaleRule::kAbsMax, 0, type, x.get(),
        p.rows, p.cols, {codes.get(), scales.get(), nullptr}, nullptr));
    const auto want =
        testing::quantize_by_specification(format, ScaleRule::kAbsMax, 0, y);
    const auto got = codes.host();
    std::size_t differing = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      differing += (got[i] & 15) != (want.codes[i] & 15);
      differing += (got[i] >> 4) != (want.codes[i] >> 4);
    }
    const double share =
        static_cast<double>(differing) / static_cast<double>(size);
    RecordProperty("differing_codes_" + testing::test_name(std::string(f.name)),
                   std::to_string(share));
    // A sum is off by about block / 4 units of 2^-23 of its size; a boundary
    // lies that close to one value in 10^5, and a scale that flips changes a
    // group.
    EXPECT_LT(share, 1e-3) << f.name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, CudaTransformTypes,
    ::testing::Combine(::testing::Values(DataType::kBfloat16,
                                         DataType::kFloat16,
                                         DataType::kFloat32),
                       ::testing::Values(16, 32, 64, 128)),
    [](const auto& param) {
      return std::string(testing::name_of(std::get<0>(param.param))) + "_" +
             std::to_string(std::get<1>(param.param));
    });

TEST(CudaTransformNotFinite, NamesTheFirstTransformedValue) {
  WUSH_REQUIRE_GPU();
  Problem p =
      make_problem(40, 256, 32, false, DataType::kFloat32, Data::kNormal);
  p.x.values[20 * 256 + 70] = std::numeric_limits<float>::infinity();
  p.x = testing::store_as(DataType::kFloat32, p.x.values);
  DeviceBuffer<std::uint8_t> x(p.x.bytes), t(p.t.bytes), codes(40 * 128),
      scales(40 * 8);
  DeviceBuffer<std::uint64_t> bad(std::vector<std::uint64_t>{kNoneBad});
  EXPECT_OK(kernels::cuda::block_transform_quantize(
      {t.get(), 32, false}, Format::kMxfp4, ScaleRule::kAbsMax, 0,
      DataType::kFloat32, x.get(), 40, 256,
      {codes.get(), scales.get(), bad.get()}, nullptr));
  EXPECT_EQ(bad.host()[0], 20u * 256 + 64);
}

TEST(CudaTransformRefusals, NameKernelAndShape) {
  WUSH_REQUIRE_GPU();
  EXPECT_EQ(
      kernels::cuda::block_transform({nullptr, 48, false}, nullptr, 4, 96,
                                     DataType::kBfloat16, nullptr, nullptr)
          .message(),
      "block_transform [4, 96, 48]: the transform block must be 16, 32, "
      "64 or 128");
  EXPECT_EQ(kernels::cuda::block_transform_quantize(
                {nullptr, 16, false}, Format::kMxfp4, ScaleRule::kAbsMax, 0,
                DataType::kBfloat16, nullptr, 4, 96,
                {nullptr, nullptr, nullptr}, nullptr)
                .message(),
            "block_transform_quantize [4, 96, 16]: the transform block must be "
            "a multiple of the group of 32");
}

}  // namespace
}  // namespace wush
