#include "lib/solver/solver.h"

#include <Eigen/LU>
#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/numerics/group_quantizer.h"
#include "lib/linalg/block_math.h"
#include "lib/support/error.h"

namespace wush {
namespace {

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Columns whose errors are gathered before they are carried to the rest: wide
// enough that the time goes into a matrix product that is not bound by memory.
constexpr std::int64_t kPanelColumns = 256;

BlockMatrix block_to_host(Device& device, MatrixView<const double> view) {
  const std::vector<double> values = to_host(device, view);
  return Eigen::Map<const RowMajor>(values.data(), view.rows, view.cols);
}

// One solve at one damping.
class BlockSolver {
 public:
  BlockSolver(Device& device, const LinearProblem& problem,
              const Feedback& feedback, double damping)
      : device_(device),
        problem_(problem),
        feedback_(feedback),
        damping_(damping),
        out_(problem.weight.rows),
        in_(problem.weight.cols),
        width_(problem.width),
        blocks_(in_ / width_),
        current_(device, out_, width_),
        transformed_(device, out_, width_),
        quantized_(device, out_, width_),
        small_(device, width_, width_) {
    if (feedback.inner || feedback.outer ||
        problem.options.moments == MomentsKind::kConditional) {
      factorize();
    }
    if (feedback.outer) {
      carried_ = Matrix<double>(device, out_, in_);
      device.fill_zero(carried_.data(),
                       static_cast<std::size_t>(out_ * in_) * sizeof(double));
      panel_width_ = std::max(width_, kPanelColumns / width_ * width_);
      errors_ = Matrix<double>(device, out_, panel_width_);
    }
  }

  QuantizedWeights solve();

 private:
  bool ascending() const { return feedback_.order == ColumnOrder::kAscending; }
  std::int64_t block_at(std::int64_t step) const {
    return ascending() ? step : blocks_ - 1 - step;
  }
  // The panel of a step: its steps [begin, end), its first column, and the
  // place of the step's block in errors_, whose columns are in channel order.
  struct Panel {
    std::int64_t begin, end, first_col, cols, slot;
  };
  Panel panel_of(std::int64_t step) const {
    const std::int64_t per_panel = panel_width_ / width_;
    const std::int64_t begin = step - step % per_panel;
    const std::int64_t end = std::min(begin + per_panel, blocks_);
    return {begin, end, (ascending() ? begin : block_at(end - 1)) * width_,
            (end - begin) * width_,
            (ascending() ? step - begin : end - 1 - step) * width_};
  }

  void factorize();
  BlockMatrix factor_block(std::int64_t block) const;
  void load_current(std::int64_t block, const BlockMatrix& factor);
  StoredBlock fit(std::int64_t block, const BlockMatrix& factor);
  void multiply(MatrixView<const double> x, const BlockMatrix& right,
                MatrixView<double> y, double alpha = 1, double beta = 0);
  float tensor_unit();
  std::optional<BlockMatrix> inner_feedback(const BlockMatrix& t,
                                            const BlockMatrix& factor) const;
  void record_error(std::int64_t block, const BlockMatrix& t,
                    MatrixView<double> error);
  void carry_on(std::int64_t step);
  void carry(MatrixView<const double> error, std::int64_t from,
             std::int64_t from_count, std::int64_t to, std::int64_t to_count);

  Device& device_;
  const LinearProblem& problem_;
  const Feedback feedback_;
  const double damping_;
  const std::int64_t out_, in_, width_, blocks_;
  std::int64_t panel_width_ = 0;
  Matrix<double> factor_;       // V (ascending) or C (descending) [in, in]
  Matrix<double> carried_;      // sums of the errors so far [out, in]
  Matrix<double> errors_;       // of the panel being filled [out, panel]
  Matrix<double> current_;      // W_i, compensated [out, width]
  Matrix<double> transformed_;  // W_i T_i^-1
  Matrix<double> quantized_;    // Q_i
  Matrix<double> small_;        // one [width, width] operand
  std::int64_t dead_blocks_ = 0;
  double error_sum_ = 0;
  double weight_sum_ = 0;
};

void BlockSolver::factorize() {
  factor_ = problem_.hessian->damped_sum(device_, damping_);
  // Sigma mirrored about its antidiagonal = L L^T gives Sigma = V^T V with V
  // the mirrored L.
  if (ascending()) device_.flip(factor_.view());
  if (!device_.cholesky(factor_.view())) {
    throw NumericalError(fmt::format(
        "the Hessian is not positive definite at damping {:g}", damping_));
  }
  if (ascending()) device_.flip(factor_.view());
}

// A matrix B with B B^T = the Hessian that block sees once the blocks before it
// are fixed: V_ii^T, upper triangular, or C_ii, lower triangular.
BlockMatrix BlockSolver::factor_block(std::int64_t block) const {
  const std::int64_t first = block * width_;
  const BlockMatrix diagonal = block_to_host(
      device_,
      factor_.view().rows_from(first, width_).cols_from(first, width_));
  return ascending() ? BlockMatrix(diagonal.transpose()) : diagonal;
}

// y = alpha x right + beta y, `right` [width, width] from the host.
void BlockSolver::multiply(MatrixView<const double> x, const BlockMatrix& right,
                           MatrixView<double> y, double alpha, double beta) {
  const RowMajor operand = right;
  to_device(device_, operand.data(), small_.view());
  device_.gemm(alpha, Transpose::kNo, x, Transpose::kNo, small_.view(), beta,
               y);
}

// current_ = W_i, less what the errors of the blocks before it ask for.
void BlockSolver::load_current(std::int64_t block, const BlockMatrix& factor) {
  const std::int64_t first = block * width_;
  device_.widen(problem_.weight.cols_from(first, width_), current_.view());
  if (!feedback_.outer) return;
  multiply(carried_.view().cols_from(first, width_), factor.inverse(),
           current_.view(), -1, 1);
}

StoredBlock BlockSolver::fit(std::int64_t block, const BlockMatrix& factor) {
  const TransformSeed seed{problem_.options.seed, problem_.stream,
                           static_cast<std::uint64_t>(block)};
  const Transform& transform = *problem_.transform;
  const auto type = problem_.options.transform_dtype;
  const int channels = static_cast<int>(width_);
  if (!transform.needs_moments()) {
    return store_block(transform.fit(channels, nullptr, seed), type);
  }
  BlockMoments moments;
  device_.gemm(1.0 / static_cast<double>(out_), Transpose::kYes,
               current_.view(), Transpose::kNo, current_.view(), 0,
               small_.view());
  moments.weight = block_to_host(device_, small_.view());
  moments.activation =
      problem_.hessian->diagonal_block(device_, block * width_, width_);
  if (moments.weight.diagonal().isZero(0) ||
      moments.activation.diagonal().isZero(0)) {
    ++dead_blocks_;
  }
  moments.weight = damped(moments.weight, damping_);
  if (problem_.options.moments == MomentsKind::kConditional) {
    // The factor is of the damped sum over tokens.
    moments.activation = factor * factor.transpose() /
                         static_cast<double>(problem_.hessian->tokens());
  } else {
    moments.activation = damped(moments.activation, damping_);
  }
  return store_block(transform.fit(channels, &moments, seed), type);
}

// The tensor's decode constant where it is chosen from the tensor: from the
// transformed weights before any error is carried on.
float BlockSolver::tensor_unit() {
  if (problem_.options.global_scale == GlobalScale::kFixed ||
      !describe(problem_.format).global_scale) {
    return 0;
  }
  double amax = 0;
  for (std::int64_t block = 0; block < blocks_; ++block) {
    const std::int64_t first = block * width_;
    const BlockMatrix factor =
        factor_.empty() ? BlockMatrix() : factor_block(block);
    device_.widen(problem_.weight.cols_from(first, width_), current_.view());
    multiply(current_.view(), fit(block, factor).inverse, transformed_.view());
    amax = std::max(
        amax, device_.largest_magnitude(std::as_const(transformed_).view()));
  }
  dead_blocks_ = 0;
  return numerics::amax_unit(problem_.format, static_cast<float>(amax));
}

std::optional<BlockMatrix> BlockSolver::inner_feedback(
    const BlockMatrix& t, const BlockMatrix& factor) const {
  if (!feedback_.inner) return std::nullopt;
  const BlockMatrix root = t * factor;
  const BlockMatrix hessian = root * root.transpose();
  auto lower = unit_inverse_factor(
      ascending() ? hessian : BlockMatrix(hessian.reverse()));
  if (!lower) {
    throw NumericalError(fmt::format(
        "a block's Hessian is not positive definite at damping {:g}",
        damping_));
  }
  return ascending() ? *lower : BlockMatrix(lower->reverse());
}

// error = Q_i T_i - W_i in the original space.
void BlockSolver::record_error(std::int64_t block, const BlockMatrix& t,
                               MatrixView<double> error) {
  device_.widen(problem_.weight.cols_from(block * width_, width_), error);
  weight_sum_ += device_.sum_of_squares(error);
  multiply(quantized_.view(), t, error, 1, -1);
  error_sum_ += device_.sum_of_squares(error);
}

// carried[:, to] += error (V[to, from])^T, or error C[from, to].
void BlockSolver::carry(MatrixView<const double> error, std::int64_t from,
                        std::int64_t from_count, std::int64_t to,
                        std::int64_t to_count) {
  if (to_count <= 0) return;
  const auto target = carried_.view().cols_from(to, to_count);
  const auto factor = std::as_const(factor_).view();
  if (ascending()) {
    device_.gemm(1, Transpose::kNo, error, Transpose::kYes,
                 factor.rows_from(to, to_count).cols_from(from, from_count), 1,
                 target);
  } else {
    device_.gemm(1, Transpose::kNo, error, Transpose::kNo,
                 factor.rows_from(from, from_count).cols_from(to, to_count), 1,
                 target);
  }
}

// Carries the error of the step's block to the rest of its panel, and a whole
// panel's errors to all blocks behind it.
void BlockSolver::carry_on(std::int64_t step) {
  const Panel panel = panel_of(step);
  const auto errors = std::as_const(errors_).view();
  if (step + 1 < panel.end) {
    const std::int64_t rest = (panel.end - step - 1) * width_;
    const std::int64_t first =
        ascending() ? (step + 1) * width_ : panel.first_col;
    carry(errors.cols_from(panel.slot, width_), block_at(step) * width_, width_,
          first, rest);
    return;
  }
  const std::int64_t behind = ascending() ? panel.first_col + panel.cols : 0;
  carry(errors.cols_from(0, panel.cols), panel.first_col, panel.cols, behind,
        in_ - panel.end * width_);
}

QuantizedWeights BlockSolver::solve() {
  QuantizedWeights result;
  result.weights = PackedMatrix(device_, problem_.format, out_, in_);
  result.transform = FittedTransform(device_, *problem_.transform, in_, width_);
  result.weights.set_unit(tensor_unit());
  Matrix<double> feedback_matrix(device_, feedback_.inner ? width_ : 0, width_);
  Matrix<double> error(device_, feedback_.outer ? 0 : out_, width_);
  for (std::int64_t step = 0; step < blocks_; ++step) {
    const std::int64_t block = block_at(step);
    const BlockMatrix factor =
        factor_.empty() ? BlockMatrix() : factor_block(block);
    load_current(block, factor);
    const StoredBlock stored = fit(block, factor);
    result.transform.set_block(device_, block, stored);
    multiply(current_.view(), stored.inverse, transformed_.view());
    MatrixView<const double> feedback_view;
    if (const auto inner = inner_feedback(stored.matrix, factor)) {
      const RowMajor operand = *inner;
      to_device(device_, operand.data(), feedback_matrix.view());
      feedback_view = feedback_matrix.view();
    }
    device_.quantize_block(transformed_.view(), feedback_view, feedback_.order,
                           problem_.options.weight_scale, result.weights.view(),
                           block * width_, quantized_.view(), problem_.label);
    if (feedback_.outer) {
      record_error(block, stored.matrix,
                   errors_.view().cols_from(panel_of(step).slot, width_));
      carry_on(step);
    } else {
      record_error(block, stored.matrix, error.view());
    }
  }
  result.damping = damping_;
  result.dead_blocks = dead_blocks_;
  result.weight_error = weight_sum_ > 0 ? error_sum_ / weight_sum_ : 0;
  return result;
}

Feedback feedback_of(SolverKind kind) {
  switch (kind) {
    case SolverKind::kRtn:
      return {};
    case SolverKind::kGptq:
      return {true, true, ColumnOrder::kAscending};
    case SolverKind::kBabai:
      break;
  }
  return {true, true, ColumnOrder::kDescending};
}

// Before a product spreads it over its row. No damping mends it.
void check_finite(Device& device, const LinearProblem& problem) {
  const std::int64_t weight = device.find_non_finite(problem.weight);
  if (weight >= 0) {
    const std::int64_t col = weight % problem.weight.cols;
    throw NumericalError(fmt::format(
        "{}: expected finite weights, found one that is not at [{}, {}] (block "
        "{})",
        problem.label, weight / problem.weight.cols, col, col / problem.width));
  }
  const std::int64_t channel = problem.hessian == nullptr
                                   ? -1
                                   : problem.hessian->find_non_finite(device);
  if (channel >= 0) {
    throw NumericalError(fmt::format(
        "{}: expected finite second moments of the inputs, found one that is "
        "not at channel {} (block {})",
        problem.label, channel, channel / problem.width));
  }
}

}  // namespace

QuantizedWeights solve_linear(Device& device, const LinearProblem& problem,
                              const Feedback& feedback) {
  WUSH_CHECK(problem.width > 0 && problem.weight.cols % problem.width == 0,
             "{}: {} channels in blocks of {}", problem.label,
             problem.weight.cols, problem.width);
  check_finite(device, problem);
  double damping = problem.options.damping;
  std::string reason;
  for (int attempt = 1; attempt <= 3; ++attempt, damping *= 10) {
    try {
      QuantizedWeights result =
          BlockSolver(device, problem, feedback, damping).solve();
      result.attempts = attempt;
      return result;
    } catch (const NumericalError& error) {
      reason = error.what();
    }
  }
  throw NumericalError(fmt::format("{}: {} (tried dampings {:g} to {:g})",
                                   problem.label, reason,
                                   problem.options.damping, damping / 10));
}

QuantizedWeights solve_linear(Device& device, const LinearProblem& problem,
                              SolverKind kind) {
  if (!problem.options.solver_fallback || kind == SolverKind::kRtn) {
    return solve_linear(device, problem, feedback_of(kind));
  }
  try {
    return solve_linear(device, problem, feedback_of(kind));
  } catch (const NumericalError& error) {
    QuantizedWeights result =
        solve_linear(device, problem, feedback_of(SolverKind::kRtn));
    result.fallback = fmt::format("rtn ({})", error.what());
    return result;
  }
}

}  // namespace wush
