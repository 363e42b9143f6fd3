// What the solvers do with numbers that are not well-behaved: each test states
// the conduct, not merely that nothing crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <Eigen/LU>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "kernels/numerics/group_quantizer.h"
#include "lib/solver/solver.h"
#include "lib/support/error.h"
#include "tests/child_process.h"
#include "tests/lib/solver/problem_data.h"

namespace wush {
namespace {

using numerics::Format;
using ::testing::AllOf;
using testing::correlated;
using testing::decode;
using testing::gaussian;
using ::testing::HasSubstr;
using testing::loss;
using testing::message_of;
using testing::RowMajorF;
using testing::same_codes;
using testing::upload;

constexpr int kOut = 24, kIn = 128, kTokens = 512, kWidth = 32;

// A layer whose numbers a test makes ill-behaved before it is solved.
struct Layer {
  RowMajorF inputs = correlated(kTokens, kIn, 1);
  RowMajorF weight = gaussian(kOut, kIn, 2);
  Format format = Format::kMxfp4;
  std::string transform = "identity";
  QuantizationOptions options;

  QuantizedWeights solve(SolverKind kind) const {
    Hessian hessian(*device, kIn, kIn);
    hessian.accumulate(*device, upload(*device, inputs).view());
    const Matrix<float> values = upload(*device, weight);
    const auto made = make_transform({transform, 1.0});
    LinearProblem problem;
    problem.weight = values.view();
    problem.hessian = &hessian;
    problem.transform = made.get();
    problem.format = format;
    problem.width = kWidth;
    problem.options = options;
    problem.label = "layer 3, q_proj";
    return solve_linear(*device, problem, kind);
  }
  std::string refusal(SolverKind kind) const {
    return message_of<NumericalError>([&] { solve(kind); });
  }
  Eigen::MatrixXd sigma() const {
    const Eigen::MatrixXd x = inputs.cast<double>();
    return x.transpose() * x / kTokens;
  }
  // tr(E Sigma E^T) under the identity.
  double loss_of(const QuantizedWeights& found) const {
    return loss(decode(found.weights.view()) - weight.cast<double>(), sigma());
  }

  std::shared_ptr<Device> device = make_device("cpu", 1);
};

bool same_columns(const QuantizedWeights& a, const QuantizedWeights& b,
                  int first, int count) {
  return decode(a.weights.view()).middleCols(first, count) ==
         decode(b.weights.view()).middleCols(first, count);
}

std::string solver_name(SolverKind kind) {
  return kind == SolverKind::kRtn    ? "rtn"
         : kind == SolverKind::kGptq ? "gptq"
                                     : "babai";
}

// ---- Conduct of every solver

class EverySolver : public ::testing::TestWithParam<SolverKind> {
 protected:
  Layer layer_;
};

TEST_P(EverySolver, NamesANonFiniteWeightWithIndexAndBlock) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    layer_.weight(3, 40) = bad;
    EXPECT_THAT(layer_.refusal(GetParam()),
                AllOf(HasSubstr("layer 3, q_proj"), HasSubstr("[3, 40]"),
                      HasSubstr("(block 1)")));
  }
}

TEST_P(EverySolver, NamesTheChannelOfANonFiniteActivation) {
  for (const float bad : {NAN, INFINITY}) {
    layer_.inputs(100, 70) = bad;
    EXPECT_THAT(layer_.refusal(GetParam()),
                AllOf(HasSubstr("layer 3, q_proj"), HasSubstr("second moments"),
                      HasSubstr("channel 70 (block 2)")));
  }
}

TEST_P(EverySolver, NamesTheChannelWhoseSecondMomentOverflows) {
  layer_.inputs(0, 5) = 1e25f;  // finite; its square is not in float32
  EXPECT_THAT(layer_.refusal(GetParam()), HasSubstr("channel 5 (block 0)"));
}

TEST_P(EverySolver, ASecondMomentThatIsNotFiniteIsNotRoundedInstead) {
  layer_.inputs(100, 70) = NAN;
  layer_.options.solver_fallback = true;
  EXPECT_THAT(layer_.refusal(GetParam()), HasSubstr("channel 70"));
}

TEST_P(EverySolver, GivesZeroWeightsBackAsZeros) {
  layer_.weight.setZero();
  const QuantizedWeights found = layer_.solve(GetParam());
  EXPECT_TRUE(decode(found.weights.view()).isZero(0));
  EXPECT_EQ(found.weight_error, 0);
  EXPECT_EQ(found.attempts, 1);
}

// Nothing is to be minimized, so every solver rounds to nearest.
TEST_P(EverySolver, WithoutAnyInputRoundsToNearest) {
  layer_.inputs.setZero();
  EXPECT_TRUE(same_codes(layer_.solve(GetParam()).weights.view(),
                         layer_.solve(SolverKind::kRtn).weights.view()));
}

// Whatever the others do, no error is carried to or from a block that no input
// ever reaches.
TEST_P(EverySolver, RoundsABlockOfDeadChannelsToNearest) {
  layer_.inputs.middleCols(32, 32).setZero();
  const QuantizedWeights found = layer_.solve(GetParam());
  EXPECT_EQ(found.attempts, 1);
  EXPECT_TRUE(same_columns(found, layer_.solve(SolverKind::kRtn), 32, 32));
}

TEST_P(EverySolver, CountsBlocksThatAreDeadForTheTransform) {
  layer_.transform = "wush";
  EXPECT_EQ(layer_.solve(GetParam()).dead_blocks, 0);
  layer_.inputs.middleCols(32, 32).setZero();
  EXPECT_EQ(layer_.solve(GetParam()).dead_blocks, 1);
  layer_.weight.middleCols(96, 32).setZero();
  const QuantizedWeights found = layer_.solve(GetParam());
  // Those are the last weights: gptq, which carries errors to the right, makes
  // something of them; babai begins with them.
  EXPECT_EQ(found.dead_blocks, GetParam() == SolverKind::kGptq ? 1 : 2);
  EXPECT_TRUE(decode(found.weights.view()).allFinite());
  EXPECT_TRUE(std::isfinite(found.weight_error));
}

TEST_P(EverySolver, TakesFewerTokensThanChannels) {
  layer_.inputs.bottomRows(kTokens - 16).setZero();  // rank 16 of 128
  const QuantizedWeights found = layer_.solve(GetParam());
  EXPECT_EQ(found.attempts, 1);
  EXPECT_EQ(found.damping, 0.01);
  EXPECT_LE(layer_.loss_of(found),
            layer_.loss_of(layer_.solve(SolverKind::kRtn)));
}

TEST_P(EverySolver, TakesDuplicatedChannels) {
  layer_.inputs.rightCols(64) = layer_.inputs.leftCols(64).eval();
  const QuantizedWeights found = layer_.solve(GetParam());
  EXPECT_EQ(found.attempts, 1);
  EXPECT_LE(layer_.loss_of(found),
            layer_.loss_of(layer_.solve(SolverKind::kRtn)));
}

// Sizes of the channels from 1 to 1e-6: variances over twelve decades.
TEST_P(EverySolver, TakesAConditioningOf1e12) {
  for (int j = 0; j < kIn; ++j) {
    layer_.inputs.col(j) *= std::pow(10.0f, -6.0f * j / (kIn - 1));
  }
  layer_.options.damping = 1e-14;
  const QuantizedWeights found = layer_.solve(GetParam());
  EXPECT_EQ(found.attempts, 1);
  EXPECT_LE(layer_.loss_of(found),
            layer_.loss_of(layer_.solve(SolverKind::kRtn)));
}

TEST_P(EverySolver, TakesASingleActivationOf1e6) {
  layer_.inputs(7, 9) = 1e6f;
  const QuantizedWeights found = layer_.solve(GetParam());
  EXPECT_EQ(found.attempts, 1);
  EXPECT_LE(layer_.loss_of(found),
            layer_.loss_of(layer_.solve(SolverKind::kRtn)));
}

TEST_P(EverySolver, KeepsTheTransformInvertibleUnderAWeightOf1e6) {
  layer_.transform = "wush";
  layer_.weight(3, 40) = 1e6f;
  const QuantizedWeights found = layer_.solve(GetParam());
  EXPECT_EQ(found.attempts, 1);
  EXPECT_TRUE(decode(found.weights.view()).allFinite());
  // The outlier is nearly all of ||W||^2: half a step of the elements is 1/6 of
  // their largest, and the rotation back mixes errors of one size.
  EXPECT_LT(found.weight_error, 0.03);
}

INSTANTIATE_TEST_SUITE_P(Solvers, EverySolver,
                         ::testing::Values(SolverKind::kRtn, SolverKind::kGptq,
                                           SolverKind::kBabai),
                         [](const auto& test) {
                           return solver_name(test.param);
                         });

// ---- The damping ladder

// All second moments are 1024, exactly, and those of channels 0 and 32 also
// with each other: singular until the damping reaches the last bits of 1024,
// which are 2.3e-13. A damping of 1e-16 adds 1.02e-13 and is rounded away;
// 1e-15 adds 1.02e-12.
Layer layer_singular_up_to_1e16() {
  Layer layer;
  layer.inputs = RowMajorF::Zero(kTokens, kIn);
  layer.inputs.col(0).head(256).setConstant(2);
  layer.inputs.col(32).head(256).setConstant(2);
  for (int j = 0; j < kIn; ++j) {
    if (j % 32 != 0 || j > 32) layer.inputs(256 + j, j) = 32;
  }
  return layer;
}

class DampingLadder : public ::testing::TestWithParam<int> {};

TEST_P(DampingLadder, IsClimbedFromThePristineHessianAndRecorded) {
  Layer layer = layer_singular_up_to_1e16();
  double damping = 1e-17;
  for (int i = GetParam(); i < 3; ++i) damping *= 10;
  layer.options.damping = damping;
  const QuantizedWeights found = layer.solve(SolverKind::kGptq);
  EXPECT_EQ(found.attempts, GetParam());
  for (int i = 1; i < GetParam(); ++i) damping *= 10;
  EXPECT_EQ(found.damping, damping);
  EXPECT_EQ(found.fallback, "");
  // What the failed attempts did leaves no trace.
  layer.options.damping = damping;
  const QuantizedWeights directly = layer.solve(SolverKind::kGptq);
  EXPECT_EQ(directly.attempts, 1);
  EXPECT_TRUE(same_codes(found.weights.view(), directly.weights.view()));
}

INSTANTIATE_TEST_SUITE_P(Attempts, DampingLadder, ::testing::Values(1, 2, 3),
                         ::testing::PrintToStringParamName());

TEST(DampingLadderEnd, IsAnErrorThatNamesTheLinearAndTheDampings) {
  Layer layer = layer_singular_up_to_1e16();
  layer.options.damping = 1e-18;
  for (const SolverKind kind : {SolverKind::kGptq, SolverKind::kBabai}) {
    EXPECT_THAT(layer.refusal(kind), AllOf(HasSubstr("layer 3, q_proj"),
                                           HasSubstr("not positive definite"),
                                           HasSubstr("1e-18 to 1e-16")));
  }
}

TEST(DampingLadderEnd, IsRoundedToNearestOnlyWhenAskedForAndSaysSo) {
  Layer layer = layer_singular_up_to_1e16();
  layer.options.damping = 0;
  EXPECT_THAT(layer.refusal(SolverKind::kGptq), HasSubstr("0 to 0"));
  layer.options.solver_fallback = true;
  const QuantizedWeights found = layer.solve(SolverKind::kGptq);
  EXPECT_THAT(found.fallback,
              AllOf(::testing::StartsWith("rtn ("), HasSubstr("q_proj"),
                    HasSubstr("not positive definite")));
  const QuantizedWeights rtn = layer.solve(SolverKind::kRtn);
  EXPECT_TRUE(same_codes(found.weights.view(), rtn.weights.view()));
  EXPECT_EQ(rtn.fallback, "") << "rounding to nearest was asked for";
}

TEST(DampingLadderEnd, ATransformThatCannotBeFittedIsAnErrorToo) {
  Layer layer;
  layer.transform = "wush";
  layer.options.damping = 0;
  layer.inputs.col(33) = layer.inputs.col(34);
  layer.inputs.middleCols(40, 8).setZero();
  EXPECT_THAT(layer.refusal(SolverKind::kRtn),
              AllOf(HasSubstr("layer 3, q_proj"), HasSubstr("second moment"),
                    HasSubstr("tried dampings")));
}

// ---- Scales

class EveryFormat : public ::testing::TestWithParam<Format> {
 protected:
  EveryFormat() { layer_.format = GetParam(); }

  int group() const { return describe(GetParam()).group; }
  // Largest element, in units of the group's scale.
  double largest_element() const {
    return GetParam() == Format::kInt4 ? 7.5 : 6;
  }

  Layer layer_;
};

// Its group loses its small values, no other group notices.
TEST_P(EveryFormat, AWeightOf1e6StaysInItsGroup) {
  const QuantizedWeights plain = layer_.solve(SolverKind::kRtn);
  layer_.weight(3, 40) = 1e6f;
  layer_.options.global_scale = GlobalScale::kFixed;
  const QuantizedWeights found = layer_.solve(SolverKind::kRtn);
  Eigen::MatrixXd difference =
      decode(found.weights.view()) - decode(plain.weights.view());
  const int first = 40 / group() * group();
  EXPECT_FALSE(difference.row(3).segment(first, group()).isZero(0));
  difference.row(3).segment(first, group()).setZero();
  EXPECT_TRUE(difference.isZero(0));
}

// The outlier's own value: within the element's spacing for scales that follow
// it, the largest value that the format holds where they cannot.
TEST_P(EveryFormat, AWeightOf1e6IsHeldOrSaturatesAsTheFormatSays) {
  layer_.weight(3, 40) = 1e6f;
  const auto value = [&] {
    return decode(layer_.solve(SolverKind::kRtn).weights.view())(3, 40);
  };
  switch (GetParam()) {
    case Format::kMxfp4:  // nothing clips; the spacing below 6 is 2
      EXPECT_NEAR(value(), 1e6, 1e6 / 4);
      break;
    case Format::kMxfp4Ocp:  // 6 of 8
      EXPECT_NEAR(value(), 6 * 131072, 0);
      break;
    case Format::kNvfp4:  // 448 is the largest e4m3
      EXPECT_NEAR(value(), 6 * 448 * 0.1, 1e-5);
      layer_.options.global_scale = GlobalScale::kAmax;
      EXPECT_NEAR(value(), 1e6, 1e6 / 16);  // half a step of e4m3
      break;
    case Format::kInt4:  // 7.5 steps of 0.335 RMS, the RMS being 1e6 / sqrt 32
      EXPECT_NEAR(value(), 7.5 * 0.33519 * 1e6 / std::sqrt(32.0), 1e6 / 256);
      break;
  }
}

TEST_P(EveryFormat, AGroupOfOneValueIsOneValueAgain) {
  layer_.weight.setConstant(0.75f);
  const Eigen::MatrixXd q =
      decode(layer_.solve(SolverKind::kRtn).weights.view());
  EXPECT_TRUE(q.isConstant(q(0, 0), 0));
  // All formats hold it: mxfp4 within the spacing, nvfp4 within that of its
  // scale, int4 at 2.98 steps of 0.3352 RMS in the middle of one.
  EXPECT_NEAR(q(0, 0), 0.75, 0.75 / 5);
}

TEST_P(EveryFormat, AGroupWithOneNonzeroValueKeepsTheZeros) {
  layer_.weight.setZero();
  layer_.weight(3, 40) = 0.5f;
  const Eigen::MatrixXd q =
      decode(layer_.solve(SolverKind::kRtn).weights.view());
  EXPECT_GT(q(3, 40), 0.2);
  if (GetParam() == Format::kInt4) {
    // Mid-rise integers have no zero: half a step beside it.
    const double step = q(3, 40) / 7.5;
    EXPECT_NEAR(std::abs(q(3, 41)), step / 2, step * 1e-12);
    return;
  }
  EXPECT_EQ((q.array() != 0).count(), 1);
}

// Weights whose scale is at the lower end of its type, or below.
TEST_P(EveryFormat, SubnormalWeightsComeBackSmallAndFinite) {
  for (const float size : {1e-38f, 1e-42f}) {
    layer_.weight = RowMajorF::Constant(kOut, kIn, size);
    const QuantizedWeights found = layer_.solve(SolverKind::kRtn);
    const Eigen::MatrixXd q = decode(found.weights.view());
    EXPECT_TRUE(q.allFinite());
    // Either the value to within the spacing, or zero, or the smallest scale's
    // smallest element: never larger than that.
    const double smallest = std::ldexp(1, -127) / 6;
    EXPECT_LE(q.cwiseAbs().maxCoeff(), std::max(1.5 * size, smallest));
    EXPECT_GE(q.minCoeff(), 0) << "no sign is made up";
    EXPECT_LE(found.weight_error, 1);
  }
}

// Transformed weights are double and may exceed every scale type.
TEST_P(EveryFormat, ValuesBeyondTheScaleAreNamedOrSaturateButAreNeverInfinite) {
  Device& device = *layer_.device;
  Matrix<double> x(device, 2, 32);
  std::vector<double> values(64, 1e300);
  to_device(device, values.data(), x.view());
  Matrix<double> q(device, 2, 32);
  PackedMatrix packed(device, GetParam(), 2, 32);
  const std::string message = message_of<NumericalError>([&] {
    device.quantize_block(x.view(), {}, ColumnOrder::kAscending,
                          numerics::ScaleRule::kAbsMax, packed.view(), 0,
                          q.view(), "layer 3, q_proj");
  });
  if (GetParam() == Format::kInt4) {
    EXPECT_THAT(message,
                AllOf(HasSubstr("layer 3, q_proj"), HasSubstr("[0, 0]"),
                      HasSubstr("beyond its type")));
  } else {
    EXPECT_EQ(message, "");
    EXPECT_TRUE(decode(packed.view()).allFinite());
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat,
                         ::testing::Values(Format::kMxfp4, Format::kNvfp4,
                                           Format::kInt4, Format::kMxfp4Ocp),
                         [](const auto& test) {
                           std::string name(describe(test.param).name);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace wush
