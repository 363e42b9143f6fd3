// The laws of the solvers (spec: "Solvers"), and GPTQ with transforms against a
// literal transcription of WUSH's algorithm 2 that shares no code with it.
#include "lib/solver/solver.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <algorithm>
#include <cmath>

#include "kernels/numerics/group_quantizer.h"
#include "lib/linalg/block_math.h"
#include "lib/support/error.h"
#include "tests/lib/solver/problem_data.h"

namespace wush {
namespace {

using numerics::Format;
using numerics::ScaleRule;
using testing::correlated;
using testing::decode;
using testing::gaussian;
using testing::loss;
using testing::RowMajorF;
using testing::same_codes;
using testing::upload;

struct SolverCase {
  Format format;
  std::string transform;
  int width;
  ScaleRule rule = ScaleRule::kAbsMax;
  MomentsKind moments = MomentsKind::kMarginal;
};

void PrintTo(const SolverCase& c, std::ostream* out) {
  *out << describe(c.format).name << " " << c.transform << " " << c.width;
}

std::string case_name(const ::testing::TestParamInfo<SolverCase>& test) {
  std::string name = std::string(describe(test.param.format).name) + "_" +
                     test.param.transform + "_" +
                     std::to_string(test.param.width);
  if (test.param.rule != ScaleRule::kAbsMax) name += "_search";
  if (test.param.moments != MomentsKind::kMarginal) name += "_conditional";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class Solver : public ::testing::TestWithParam<SolverCase> {
 protected:
  static constexpr int kOut = 48, kIn = 384, kTokens = 1024;

  Solver() {
    const RowMajorF x = correlated(kTokens, kIn, 1);
    inputs_ = upload(*device_, x);
    hessian_.accumulate(*device_, std::as_const(inputs_).view());
    sigma_ = x.cast<double>().transpose() * x.cast<double>() / kTokens;
    host_weight_ = gaussian(kOut, kIn, 2);
    weight_ = upload(*device_, host_weight_);
    transform_ = make_transform({GetParam().transform, 0.75});
    problem_.weight = std::as_const(weight_).view();
    problem_.hessian = &hessian_;
    problem_.transform = transform_.get();
    problem_.format = GetParam().format;
    problem_.width = GetParam().width;
    problem_.options.weight_scale = GetParam().rule;
    problem_.options.moments = GetParam().moments;
    problem_.label = "test";
  }

  std::unique_ptr<Device> device_ = make_device("cpu", 2);
  Matrix<float> inputs_, weight_;
  RowMajorF host_weight_;
  Eigen::MatrixXd sigma_;
  Hessian hessian_{*device_, kIn, kIn};
  std::unique_ptr<Transform> transform_;
  LinearProblem problem_;
};

double share_of_equal_values(const Eigen::MatrixXd& a,
                             const Eigen::MatrixXd& b) {
  return (a.array() == b.array()).cast<double>().mean();
}

// Algorithm 2 as printed: L L^T = (damped Sigma)^-1, weights compensated in
// place after every block.
Eigen::MatrixXd algorithm2(const Eigen::MatrixXd& weight,
                           const Eigen::MatrixXd& sigma, const SolverCase& c,
                           const Transform& transform, double damping) {
  const int width = c.width;
  const Eigen::MatrixXd whole = damped(sigma, damping);
  const Eigen::MatrixXd l = whole.inverse().llt().matrixL();
  Eigen::MatrixXd w = weight;
  Eigen::MatrixXd codes(w.rows(), w.cols());
  for (Eigen::Index first = 0; first < w.cols(); first += width) {
    const Eigen::MatrixXd current = w.middleCols(first, width);
    const Eigen::MatrixXd l_ii = l.block(first, first, width, width);
    const Eigen::MatrixXd conditional = (l_ii * l_ii.transpose()).inverse();
    BlockMoments moments;
    moments.weight =
        damped(current.transpose() * current / double(w.rows()), damping);
    moments.activation =
        c.moments == MomentsKind::kConditional
            ? conditional
            : damped(sigma.block(first, first, width, width), damping);
    const BlockMatrix t =
        transform
            .fit(width, &moments,
                 {0, 0, static_cast<std::uint64_t>(first / width)})
            .cast<float>()
            .cast<double>();
    Eigen::MatrixXd x = current * t.inverse();
    const Eigen::MatrixXd h = t * conditional * t.transpose();
    Eigen::MatrixXd inner = h.inverse().llt().matrixL();
    for (int k = 0; k < width; ++k) inner.col(k) /= double(inner(k, k));
    Eigen::MatrixXd q(x.rows(), x.cols());
    numerics::dispatch_format(c.format, [&]<Format F>() {
      const numerics::GroupQuantizer<F, double> quantizer;
      constexpr int kGroup = numerics::describe(F).group;
      for (Eigen::Index row = 0; row < x.rows(); ++row) {
        std::uint16_t scale = 0;
        for (int k = 0; k < width; ++k) {
          if (k % kGroup == 0) {
            const Eigen::RowVectorXd group = x.row(row).segment(k, kGroup);
            scale = quantizer.choose_scale(group.data(), c.rule);
          }
          q(row, k) = quantizer.element(quantizer.encode(
                          x(row, k), quantizer.encode_multiplier(scale))) *
                      quantizer.decode_multiplier(scale);
          const double e = q(row, k) - x(row, k);
          for (int j = k; j < width; ++j) x(row, j) += e * inner(j, k);
        }
      }
    });
    codes.middleCols(first, width) = q;
    const Eigen::MatrixXd error = q * t - current;
    for (Eigen::Index j = first; j < w.cols(); j += width) {
      w.middleCols(j, width) +=
          error *
          (l.block(j, first, width, width) * l_ii.inverse()).transpose();
    }
  }
  return codes;
}

TEST_P(Solver, GptqIsAlgorithmTwo) {
  const QuantizedWeights found =
      solve_linear(*device_, problem_, SolverKind::kGptq);
  const Eigen::MatrixXd expected =
      algorithm2(host_weight_.cast<double>(), sigma_, GetParam(), *transform_,
                 problem_.options.damping);
  // Both run in double from the same exact moments and differ in the order of
  // operations, by about 1e-16 times the Hessian's conditioning (1e5 at this
  // damping). One of the 18432 roundings flips with a chance of 1e-7, and what
  // follows a flip in its row may differ, through the moments of later blocks
  // in other rows too; a mistake leaves about half of the values different.
  EXPECT_GT(share_of_equal_values(decode(found.weights.view()), expected),
            0.999);
  EXPECT_EQ(found.attempts, 1);
}

TEST_P(Solver, WithoutFeedbackGptqIsRtn) {
  const QuantizedWeights rtn =
      solve_linear(*device_, problem_, SolverKind::kRtn);
  for (const ColumnOrder order :
       {ColumnOrder::kAscending, ColumnOrder::kDescending}) {
    // Conditional moments are those of the order.
    if (order == ColumnOrder::kDescending &&
        GetParam().moments == MomentsKind::kConditional) {
      continue;
    }
    const QuantizedWeights forced =
        solve_linear(*device_, problem_, Feedback{false, false, order});
    EXPECT_TRUE(same_codes(forced.weights.view(), rtn.weights.view()));
  }
}

TEST_P(Solver, GptqAndBabaiLowerTheLoss) {
  const auto value = [&](SolverKind kind) {
    QuantizedWeights found = solve_linear(*device_, problem_, kind);
    // Q T - W through the stored transforms.
    Eigen::MatrixXd q = decode(found.weights.view());
    const BlockTransformView t = found.transform.view();
    Eigen::MatrixXd back = q;
    for (int first = 0; t.data != nullptr && first < kIn;
         first += GetParam().width) {
      const float* data = t.data + (t.shared ? 0 : first * t.width);
      const Eigen::MatrixXd block =
          Eigen::Map<const RowMajorF>(data, t.width, t.width).cast<double>();
      back.middleCols(first, t.width) = q.middleCols(first, t.width) * block;
    }
    return loss(back - host_weight_.cast<double>(), sigma_);
  };
  const double rtn = value(SolverKind::kRtn);
  EXPECT_LT(value(SolverKind::kGptq), 0.9 * rtn);
  EXPECT_LT(value(SolverKind::kBabai), 0.9 * rtn);
}

TEST_P(Solver, SameBitsWithOneAndTwoThreads) {
  const QuantizedWeights two =
      solve_linear(*device_, problem_, SolverKind::kGptq);
  const auto single = make_device("cpu", 1);
  const QuantizedWeights one =
      solve_linear(*single, problem_, SolverKind::kGptq);
  EXPECT_TRUE(same_codes(one.weights.view(), two.weights.view()));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Solver,
    ::testing::Values(SolverCase{Format::kMxfp4, "identity", 32},
                      SolverCase{Format::kMxfp4, "hadamard", 32},
                      SolverCase{Format::kMxfp4, "wush", 32},
                      SolverCase{Format::kMxfp4, "wush", 128},
                      SolverCase{Format::kNvfp4, "kbbq", 16},
                      SolverCase{Format::kNvfp4, "wush", 64,
                                 ScaleRule::kSearch},
                      SolverCase{Format::kNvfp4, "wush", 16, ScaleRule::kAbsMax,
                                 MomentsKind::kConditional},
                      SolverCase{Format::kInt4, "random", 32},
                      SolverCase{Format::kInt4, "wus", 32},
                      SolverCase{Format::kMxfp4Ocp, "wush", 32}),
    case_name);

// Reversing the columns of the problem turns GPTQ into Babai's nearest plane.
class Reversed : public Solver {};

TEST_P(Reversed, GptqOnReversedColumnsIsBabai) {
  const QuantizedWeights babai =
      solve_linear(*device_, problem_, SolverKind::kBabai);
  RowMajorF x(kTokens, kIn);
  device_->download(inputs_.data(), kIn * 4, x.data(), kIn * 4, kIn * 4,
                    kTokens);
  const Matrix<float> inputs = upload(*device_, x.rowwise().reverse().eval());
  const Matrix<float> weight =
      upload(*device_, host_weight_.rowwise().reverse().eval());
  Hessian hessian(*device_, kIn, kIn);
  hessian.accumulate(*device_, inputs.view());
  LinearProblem mirrored = problem_;
  mirrored.weight = weight.view();
  mirrored.hessian = &hessian;
  const QuantizedWeights gptq =
      solve_linear(*device_, mirrored, SolverKind::kGptq);
  EXPECT_GT(share_of_equal_values(
                decode(gptq.weights.view()).rowwise().reverse().eval(),
                decode(babai.weights.view())),
            0.999);  // see GptqIsAlgorithmTwo
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Reversed,
    ::testing::Values(SolverCase{Format::kMxfp4, "identity", 32},
                      SolverCase{Format::kNvfp4, "identity", 64},
                      SolverCase{Format::kInt4, "identity", 32}),
    case_name);

class Conduct : public Solver {};

TEST_P(Conduct, DampingIsRaisedFromThePristineHessianAndRecorded) {
  // Two equal channels and a negligible damping: singular to rounding.
  RowMajorF x = correlated(kTokens, kIn, 1);
  x.col(5) = x.col(6);
  x.rightCols(kIn - 32).setZero();
  x.col(kIn - 1).setConstant(1e-3f);
  const Matrix<float> inputs = upload(*device_, x);
  Hessian hessian(*device_, kIn, kIn);
  hessian.accumulate(*device_, inputs.view());
  problem_.hessian = &hessian;
  problem_.options.damping = 1e-19;
  try {
    const QuantizedWeights found =
        solve_linear(*device_, problem_, SolverKind::kGptq);
    EXPECT_GT(found.attempts, 1);
    EXPECT_DOUBLE_EQ(found.damping, std::pow(10, found.attempts - 1) * 1e-19);
  } catch (const NumericalError& error) {
    EXPECT_NE(std::string(error.what()).find("1e-19 to 1e-17"),
              std::string::npos)
        << error.what();
  }
  problem_.options.solver_fallback = true;
  problem_.options.damping = 0;
  const QuantizedWeights fallen =
      solve_linear(*device_, problem_, SolverKind::kGptq);
  EXPECT_EQ(fallen.fallback.rfind("rtn (", 0), 0u) << fallen.fallback;
}

TEST_P(Conduct, NonFiniteWeightIsNamed) {
  host_weight_(3, 40) = INFINITY;
  const Matrix<float> weight = upload(*device_, host_weight_);
  problem_.weight = weight.view();
  try {
    solve_linear(*device_, problem_, SolverKind::kRtn);
    FAIL();
  } catch (const NumericalError& error) {
    EXPECT_NE(std::string(error.what()).find("[3, 40]"), std::string::npos)
        << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Conduct,
                         ::testing::Values(SolverCase{Format::kMxfp4,
                                                      "identity", 32}),
                         case_name);

}  // namespace
}  // namespace wush
