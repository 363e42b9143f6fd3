#include "lib/pipeline/equalization.h"

#include <Eigen/LU>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>

namespace wush {
namespace {

using FloatRows =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Sum of squares and largest magnitude of every column.
class ColumnStatistics {
 public:
  explicit ColumnStatistics(std::int64_t columns)
      : squares_(Eigen::ArrayXd::Zero(columns)),
        largest_(Eigen::ArrayXd::Zero(columns)) {}

  void add(Device& device, MatrixView<const float> x) {
    const std::vector<float> host = to_host(device, x);
    const Eigen::ArrayXXd values =
        Eigen::Map<const FloatRows>(host.data(), x.rows, x.cols)
            .cast<double>()
            .array()
            .abs();
    squares_ += values.square().colwise().sum().transpose();
    largest_ = largest_.max(values.colwise().maxCoeff().transpose());
    rows_ += x.rows;
  }

  std::vector<double> root_mean_squares() const {
    const Eigen::ArrayXd rms = (squares_ / static_cast<double>(rows_)).sqrt();
    return {rms.begin(), rms.end()};
  }
  std::vector<double> largest() const {
    return {largest_.begin(), largest_.end()};
  }
  std::int64_t rows() const { return rows_; }

 private:
  Eigen::ArrayXd squares_, largest_;
  std::int64_t rows_ = 0;
};

// T^-T of every block, in the layout of `t`: W T^-1 is this on the rows of W.
Matrix<float> inverse_transposes(Device& device, const BlockTransformView& t,
                                 std::int64_t channels) {
  const std::int64_t rows = t.shared ? t.width : channels;
  const std::vector<float> host =
      to_host(device, MatrixView<const float>{t.data, rows, t.width, t.width});
  Matrix<float> inverses(device, rows, t.width);
  for (std::int64_t row = 0; row < rows; row += t.width) {
    const Eigen::MatrixXd block =
        Eigen::Map<const FloatRows>(host.data() + row * t.width, t.width,
                                    t.width)
            .cast<double>();
    const FloatRows inverse = block.inverse().transpose().cast<float>();
    to_device(device, inverse.data(), inverses.view().rows_from(row, t.width));
  }
  return inverses;
}

void add_transformed(Device& device, MatrixView<const float> x,
                     const BlockTransformView& t, ColumnStatistics& out) {
  if (t.data == nullptr) {
    out.add(device, x);
    return;
  }
  Matrix<float> transformed(device, x.rows, x.cols);
  device.block_transform(x, t, transformed.view());
  out.add(device, std::as_const(transformed).view());
}

ColumnStatistics weight_statistics(Device& device, const LinearLayer& linear,
                                   const BlockTransformView& t) {
  ColumnStatistics statistics(linear.in);
  BlockTransformView inverse = t;
  Matrix<float> matrices;
  if (t.data != nullptr) {
    matrices = inverse_transposes(device, t, linear.in);
    inverse.data = matrices.data();
  }
  add_transformed(device, linear.weight.view(), inverse, statistics);
  return statistics;
}

}  // namespace

DataTable measure_equalization(Device& device, const Checkpoint& checkpoint,
                               const RotaryTable& rotary,
                               const LayerStudy& study,
                               const CellMethod& method, int linear,
                               Progress& progress,
                               std::vector<LinearRecord>& records) {
  const auto index = static_cast<std::size_t>(linear);
  const DecoderBlock block(device, checkpoint, study.layer);
  const SolvedBlock solved = solve_linear_of_block(
      device, block, study.layer, study.hessians, method, 0, linear, progress);
  for (const LinearRecord& record : solved.records) {
    if (record.linear == kLinears[index].name) records.push_back(record);
  }
  const BlockTransformView t = solved.linears[index].transform->view();

  const ColumnStatistics weights =
      weight_statistics(device, block.linear(linear), t);
  ColumnStatistics activations(block.linear(linear).in);
  visit_block_inputs(device, block, rotary, study.hidden.view(),
                     [&](InputSite site, MatrixView<const float> x) {
                       if (site != kLinears[index].site) return;
                       add_transformed(device, x, t, activations);
                     });

  std::vector<std::int64_t> channels(
      static_cast<std::size_t>(block.linear(linear).in));
  std::iota(channels.begin(), channels.end(), 0);
  DataTable table;
  table.attributes = {{"layer", std::int64_t{study.layer}},
                      {"linear", std::string(kLinears[index].name)},
                      {"tokens", activations.rows()}};
  table.columns = {{"channel", "", std::move(channels)},
                   {"weight_rms", "", weights.root_mean_squares()},
                   {"weight_max", "", weights.largest()},
                   {"activation_rms", "", activations.root_mean_squares()},
                   {"activation_max", "", activations.largest()}};
  return table;
}

}  // namespace wush
