#include "tests/lib/solver/problem_data.h"

#include <algorithm>
#include <cmath>

#include "kernels/numerics/group_quantizer.h"
#include "lib/linalg/philox.h"

namespace wush::testing {

using numerics::Format;

RowMajorF gaussian(int rows, int cols, std::uint64_t stream) {
  RowMajorF x(rows, cols);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols; ++j) {
      x(i, j) = static_cast<float>(
          normal(11, stream, static_cast<std::uint32_t>(i),
                 static_cast<std::uint32_t>(j)) *
          std::exp(0.5 * normal(12, stream, 0, static_cast<std::uint32_t>(j))));
    }
  }
  return x;
}

RowMajorF correlated(int tokens, int channels, std::uint64_t stream) {
  const RowMajorF mix = gaussian(channels, channels, stream + 100);
  return (gaussian(tokens, channels, stream) * mix / std::sqrt(channels))
      .unaryExpr([](float value) {
        return std::clamp(std::round(2 * value), -100.0f, 100.0f);
      });
}

Matrix<float> upload(Device& device, const RowMajorF& host) {
  Matrix<float> matrix(device, host.rows(), host.cols());
  to_device(device, host.data(), matrix.view());
  return matrix;
}

Eigen::MatrixXd decode(const PackedView& packed) {
  Eigen::MatrixXd values(packed.rows, packed.cols);
  numerics::dispatch_format(packed.format, [&]<Format F>() {
    const numerics::GroupQuantizer<F, double> quantizer{
        numerics::resolve_unit<F, double>(packed.unit)};
    constexpr int kGroup = numerics::describe(F).group;
    constexpr int kBytes = numerics::describe(F).scale_bytes();
    for (std::int64_t i = 0; i < packed.rows; ++i) {
      for (std::int64_t j = 0; j < packed.cols; ++j) {
        const std::uint8_t byte = packed.codes[(i * packed.cols + j) / 2];
        const auto code =
            static_cast<std::uint8_t>(j % 2 == 0 ? byte & 15 : byte >> 4);
        const std::uint8_t* at =
            packed.scales + (i * packed.groups() + j / kGroup) * kBytes;
        const auto scale = static_cast<std::uint16_t>(
            kBytes == 2 ? at[0] | at[1] << 8 : at[0]);
        values(i, j) =
            quantizer.element(code) * quantizer.decode_multiplier(scale);
      }
    }
  });
  return values;
}

double loss(const Eigen::MatrixXd& error, const Eigen::MatrixXd& sigma) {
  return (error * sigma).cwiseProduct(error).sum();
}

bool same_codes(const PackedView& a, const PackedView& b) {
  return std::equal(a.codes, a.codes + a.code_bytes(), b.codes) &&
         std::equal(a.scales, a.scales + a.scale_bytes(), b.scales);
}

}  // namespace wush::testing
