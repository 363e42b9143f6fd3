#include "lib/pipeline/layer_loss.h"

#include <array>
#include <utility>

namespace wush {
namespace {

struct LinearSums {
  std::vector<double> errors;  // one a repeat
  double signal = 0;
};

// Adds the errors of one chunk of a linear's input.
void add_errors(Device& device, const LinearLayer& linear,
                const std::vector<BlockLinears>& repeats, std::size_t index,
                MatrixView<const float> x, LinearSums& sums) {
  Matrix<float> reference(device, x.rows, linear.out);
  device.linear(x, linear.weight.view(), nullptr, reference.view());
  Matrix<float> y(device, x.rows, linear.out);
  for (std::size_t r = 0; r < repeats.size(); ++r) {
    quantized_forward(device, repeats[r][index], x, nullptr, linear.label,
                      y.view());
    const SquaredSums squares = device.squared_sums(y.view(), reference.view());
    sums.errors[r] += squares.error;
    if (r == 0) sums.signal += squares.signal;
  }
}

LayerLoss summarize(const LayerStudy& study, std::size_t index,
                    const LinearLayer& linear, const LinearSums& sums) {
  const double count = static_cast<double>(study.hidden.rows()) *
                       static_cast<double>(linear.out);
  LayerLoss loss;
  loss.layer = study.layer;
  loss.linear = kLinears[index].name;
  loss.signal = sums.signal / count;
  for (const double error : sums.errors) {
    loss.repeats.push_back(error / count);
    loss.mse += error / count / static_cast<double>(sums.errors.size());
  }
  return loss;
}

}  // namespace

std::vector<LayerLoss> measure_layer_loss(
    Device& device, const Checkpoint& checkpoint, const RotaryTable& rotary,
    const LayerStudy& study, const CellMethod& method, int repeats,
    Progress& progress, std::vector<LinearRecord>& records) {
  const DecoderBlock block(device, checkpoint, study.layer);
  std::vector<BlockLinears> solved;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    SolvedBlock result = solve_block(device, block, study.layer, study.hessians,
                                     method, repeat, progress);
    if (method.has_tensor_unit()) {
      set_activation_units(device, block, rotary, study.hidden.view(), method,
                           result.linears);
    }
    records.insert(records.end(), result.records.begin(), result.records.end());
    solved.push_back(std::move(result.linears));
  }
  std::array<LinearSums, kLinearCount> sums;
  for (LinearSums& sum : sums) sum.errors.resize(solved.size());
  visit_block_inputs(device, block, rotary, study.hidden.view(),
                     [&](InputSite site, MatrixView<const float> x) {
                       for (std::size_t i = 0; i < kLinears.size(); ++i) {
                         if (kLinears[i].site != site) continue;
                         add_errors(device, block.linear(static_cast<int>(i)),
                                    solved, i, x, sums[i]);
                       }
                     });
  std::vector<LayerLoss> losses;
  for (std::size_t i = 0; i < kLinears.size(); ++i) {
    losses.push_back(
        summarize(study, i, block.linear(static_cast<int>(i)), sums[i]));
  }
  return losses;
}

}  // namespace wush
