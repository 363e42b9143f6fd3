// The operations of the CPU device against plain loops in double.
#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <cmath>
#include <cstring>
#include <vector>

#include "lib/device/device.h"
#include "lib/support/error.h"

namespace wush {
namespace {

using RowMajorD =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowMajorF =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T>
auto random_matrix(Eigen::Index rows, Eigen::Index cols, unsigned seed) {
  std::srand(seed);
  return Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic,
                       Eigen::RowMajor>::Random(rows, cols)
      .eval();
}

template <class Host>
auto upload(Device& device, const Host& host) {
  Matrix<typename Host::Scalar> matrix(device, host.rows(), host.cols());
  to_device(device, host.data(), matrix.view());
  return matrix;
}

template <class T>
auto host_of(Device& device, MatrixView<const T> view) {
  using Host =
      Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const std::vector<T> values = to_host(device, view);
  return Host(Eigen::Map<const Host>(values.data(), view.rows, view.cols));
}

class CpuDevice : public ::testing::TestWithParam<int> {
 protected:
  std::unique_ptr<Device> device_ = make_device("cpu", GetParam());
};

// Sums of n products in precision eps differ by at most n eps sum |a b|.
constexpr double kFloat = 0x1p-24;
constexpr double kDouble = 0x1p-53;

TEST_P(CpuDevice, LinearOverTileEdges) {
  const auto x = random_matrix<float>(700, 65, 1);
  const auto w = random_matrix<float>(1030, 65, 2);
  const auto bias = random_matrix<float>(1, 1030, 3);
  const auto dx = upload(*device_, x);
  const auto dw = upload(*device_, w);
  const auto dbias = upload(*device_, bias);
  Matrix<float> y(*device_, 700, 1030);
  device_->linear(dx.view(), dw.view(), dbias.data(), y.view());
  const RowMajorD expected =
      (x.cast<double>() * w.cast<double>().transpose()).rowwise() +
      bias.cast<double>().row(0);
  EXPECT_LT(
      (host_of(*device_, std::as_const(y).view()).cast<double>() - expected)
          .cwiseAbs()
          .maxCoeff(),
      66 * 66 * kFloat);
}

TEST_P(CpuDevice, GemmInAllTranspositions) {
  for (const Transpose op_a : {Transpose::kNo, Transpose::kYes}) {
    for (const Transpose op_b : {Transpose::kNo, Transpose::kYes}) {
      const bool ta = op_a == Transpose::kYes, tb = op_b == Transpose::kYes;
      const auto a = random_matrix<double>(ta ? 33 : 530, ta ? 530 : 33, 1);
      const auto b = random_matrix<double>(tb ? 270 : 33, tb ? 33 : 270, 2);
      const auto c = random_matrix<double>(530, 270, 3);
      const auto da = upload(*device_, a);
      const auto db = upload(*device_, b);
      auto dc = upload(*device_, c);
      device_->gemm(-2, op_a, da.view(), op_b, db.view(), 0.5, dc.view());
      const RowMajorD left = ta ? RowMajorD(a.transpose()) : RowMajorD(a);
      const RowMajorD right = tb ? RowMajorD(b.transpose()) : RowMajorD(b);
      const RowMajorD expected = -2 * left * right + 0.5 * c;
      EXPECT_LT((host_of(*device_, std::as_const(dc).view()) - expected)
                    .cwiseAbs()
                    .maxCoeff(),
                34 * 70 * kDouble);
    }
  }
}

TEST_P(CpuDevice, CholeskyAcrossPanels) {
  const Eigen::Index n = 600;
  const auto x = random_matrix<double>(n, n, 5);
  const RowMajorD a = x * x.transpose() + n * RowMajorD::Identity(n, n);
  auto factor = upload(*device_, a);
  ASSERT_TRUE(device_->cholesky(factor.view()));
  const RowMajorD l = host_of(*device_, std::as_const(factor).view());
  EXPECT_TRUE(l.isLowerTriangular(0));
  EXPECT_LT((l * l.transpose() - a).norm() / a.norm(), n * kDouble);
  RowMajorD indefinite = a;
  indefinite(400, 400) = -1;
  auto failing = upload(*device_, indefinite);
  EXPECT_FALSE(device_->cholesky(failing.view()));
}

TEST_P(CpuDevice, FlipMirrorsAtTheAntidiagonal) {
  const auto a = random_matrix<double>(131, 131, 6);
  auto flipped = upload(*device_, a);
  device_->flip(flipped.view());
  const RowMajorD expected = a.transpose().reverse();
  EXPECT_EQ(host_of(*device_, std::as_const(flipped).view()), expected);
}

TEST_P(CpuDevice, GramWholeAndInBlocks) {
  const auto x = random_matrix<float>(1100, 320, 7);
  const auto dx = upload(*device_, x);
  const RowMajorD expected = x.cast<double>().transpose() * x.cast<double>();
  for (const std::int64_t block : {320, 32}) {
    Matrix<double> sigma(*device_, 320, block);
    device_->fill_zero(sigma.data(), static_cast<std::size_t>(320 * block) * 8);
    device_->accumulate_gram(dx.view(), block, sigma.view());
    const RowMajorD found = host_of(*device_, std::as_const(sigma).view());
    for (Eigen::Index i = 0; i < 320; ++i) {
      for (Eigen::Index j = 0; j <= i; ++j) {
        if (block < 320 && j / block != i / block) continue;
        // Chunks of 512 products in float32.
        EXPECT_NEAR(found(i, block < 320 ? j % block : j), expected(i, j),
                    1100 * 512 * kFloat * 0.01);
      }
    }
  }
}

// softmax(q k^T / sqrt(d)) v of one head, in double.
RowMajorD attend(const RowMajorD& q, const RowMajorD& k, const RowMajorD& v,
                 std::int64_t window) {
  RowMajorD y = RowMajorD::Zero(q.rows(), v.cols());
  for (Eigen::Index i = 0; i < q.rows(); ++i) {
    const Eigen::Index first =
        window > 0 ? std::max<Eigen::Index>(0, i - window + 1) : 0;
    double sum = 0;
    for (Eigen::Index j = first; j <= i; ++j) {
      const double weight = std::exp(q.row(i).dot(k.row(j)) /
                                     std::sqrt(static_cast<double>(q.cols())));
      sum += weight;
      y.row(i) += weight * v.row(j);
    }
    y.row(i) /= sum;
  }
  return y;
}

TEST_P(CpuDevice, AttentionWithGroupedHeadsAndWindows) {
  for (const std::int64_t window : {0, 1, 70}) {
    const AttentionShape shape{150, 6, 2, 8, window};
    const auto q = random_matrix<float>(300, 48, 8);
    const auto k = random_matrix<float>(300, 16, 9);
    const auto v = random_matrix<float>(300, 16, 10);
    const auto dq = upload(*device_, q);
    const auto dk = upload(*device_, k);
    const auto dv = upload(*device_, v);
    Matrix<float> y(*device_, 300, 48);
    device_->attention(dq.view(), dk.view(), dv.view(), shape, y.view());
    const RowMajorD found =
        host_of(*device_, std::as_const(y).view()).cast<double>();
    for (Eigen::Index w = 0; w < 2; ++w) {
      for (Eigen::Index h = 0; h < 6; ++h) {
        const RowMajorD expected =
            attend(q.block(w * 150, h * 8, 150, 8).cast<double>(),
                   k.block(w * 150, h / 3 * 8, 150, 8).cast<double>(),
                   v.block(w * 150, h / 3 * 8, 150, 8).cast<double>(), window);
        EXPECT_LT((found.block(w * 150, h * 8, 150, 8) - expected)
                      .cwiseAbs()
                      .maxCoeff(),
                  150 * 4 * kFloat);
      }
    }
  }
}

TEST_P(CpuDevice, QuantizedLinearIsLinearOfDecodedOperands) {
  const auto x = random_matrix<float>(70, 64, 11);
  const auto w = random_matrix<float>(40, 64, 12);
  const auto dx = upload(*device_, x);
  const auto dw = upload(*device_, w);
  PackedMatrix px(*device_, numerics::Format::kNvfp4, 70, 64);
  PackedMatrix pw(*device_, numerics::Format::kNvfp4, 40, 64);
  const QuantizerSpec spec{numerics::Format::kNvfp4,
                           numerics::ScaleRule::kSearch, 0};
  device_->quantize(dx.view(), spec, px.view(), "x");
  device_->quantize(dw.view(), spec, pw.view(), "w");
  Matrix<float> vx(*device_, 70, 64), vw(*device_, 40, 64);
  device_->dequantize(px.view(), vx.view());
  device_->dequantize(pw.view(), vw.view());
  Matrix<float> y(*device_, 70, 40), expected(*device_, 70, 40);
  device_->quantized_linear(px.view(), pw.view(), nullptr, y.view());
  device_->linear(std::as_const(vx).view(), std::as_const(vw).view(), nullptr,
                  expected.view());
  EXPECT_EQ(host_of(*device_, std::as_const(y).view()),
            host_of(*device_, std::as_const(expected).view()));
}

TEST_P(CpuDevice, NonFiniteInputsAreNamed) {
  auto x = random_matrix<float>(130, 64, 13);
  x(100, 33) = NAN;
  const auto dx = upload(*device_, x);
  EXPECT_EQ(device_->find_non_finite(dx.view()), 100 * 64 + 33);
  PackedMatrix packed(*device_, numerics::Format::kMxfp4, 130, 64);
  try {
    device_->quantize(dx.view(), {}, packed.view(), "input of layer 1, q_proj");
    FAIL();
  } catch (const NumericalError& error) {
    EXPECT_STREQ(error.what(),
                 "input of layer 1, q_proj: expected finite values, found nan "
                 "at [100, 33]");
  }
}

TEST_P(CpuDevice, ReductionsMatchPlainSums) {
  const auto y = random_matrix<float>(150, 30, 14);
  const auto r = random_matrix<float>(150, 30, 15);
  const auto dy = upload(*device_, y);
  const auto dr = upload(*device_, r);
  const SquaredSums sums = device_->squared_sums(dy.view(), dr.view());
  const double error = (y.cast<double>() - r.cast<double>()).squaredNorm();
  EXPECT_NEAR(sums.error, error, error * 4500 * kDouble);
  EXPECT_NEAR(sums.signal, r.cast<double>().squaredNorm(),
              sums.signal * 4500 * kDouble);
  EXPECT_EQ(device_->largest_magnitude(dy.view()), y.cwiseAbs().maxCoeff());
}

TEST_P(CpuDevice, MemoryIsCounted) {
  const std::size_t before = device_->bytes_in_use();
  {
    const Matrix<float> a(*device_, 100, 100);
    EXPECT_EQ(device_->bytes_in_use(), before + 40000);
  }
  EXPECT_EQ(device_->bytes_in_use(), before);
  EXPECT_GE(device_->peak_bytes(), before + 40000);
}

INSTANTIATE_TEST_SUITE_P(Threads, CpuDevice, ::testing::Values(1, 2),
                         ::testing::PrintToStringParamName());

TEST(Devices, AnUnknownOneIsRefused) {
  EXPECT_THROW(make_device("cuda:0", 1), DeviceError);
  EXPECT_THROW(make_device("tpu", 1), DeviceError);
}

}  // namespace
}  // namespace wush
