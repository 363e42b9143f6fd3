// Verification and timing through the backend interface: the CPU's kernels, and
// the same with one thing spoiled.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "kernels/numerics/group_quantizer.h"
#include "lib/experiment/throughput_measure.h"
#include "lib/support/error.h"
#include "lib/throughput/throughput.h"
#include "lib/throughput/verify.h"

namespace wush {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Counts = std::vector<std::int64_t>;
using Texts = std::vector<std::string>;
using Seconds = std::vector<double>;

// Passes everything on, but for what a test replaces.
class SpoiledBackend final : public ThroughputBackend {
 public:
  explicit SpoiledBackend(std::string path = "")
      : inner_(make_throughput_backend("cpu", 1)), path_(std::move(path)) {}

  // Changes a row of y, or packed activations, that `path` computed.
  std::function<void(std::vector<float>&)> spoil_output;
  std::function<void(PackedRow&)> spoil_packed;
  std::string run_instead;  // another path than `path`

  std::string name() const override { return inner_->name(); }
  std::string device() const override { return inner_->device(); }
  std::string description() const override { return inner_->description(); }
  std::map<std::string, DataValue> attributes() const override {
    return inner_->attributes();
  }
  std::vector<std::string> baselines() const override {
    return inner_->baselines();
  }
  std::int64_t cache_bytes() const override { return inner_->cache_bytes(); }
  std::int64_t predict_bytes(const LinearProblem& problem) const override {
    return inner_->predict_bytes(problem);
  }
  double copy_bandwidth() override { return 1e9; }  // takes a while to measure
  Rotation prepare(const LinearProblem& problem,
                   const RandomValues& values) override {
    return inner_->prepare(problem, values);
  }
  void run(const std::string& path) override {
    last_ = path;
    inner_->run(path == path_ && !run_instead.empty() ? run_instead : path);
  }
  std::vector<float> output(std::int64_t token) override {
    std::vector<float> row = inner_->output(token);
    if (last_ == path_ && spoil_output) spoil_output(row);
    return row;
  }
  PackedRow packed_activations(std::int64_t token) override {
    PackedRow row = inner_->packed_activations(token);
    if (last_ == path_ && spoil_packed) spoil_packed(row);
    return row;
  }
  RoundingBound rounding(const std::string& path) const override {
    return inner_->rounding(path);
  }
  double time(const std::string& path) override {
    timed.push_back(path);
    return inner_->time(path);
  }

  std::vector<std::string> timed;

 private:
  std::unique_ptr<ThroughputBackend> inner_;
  std::string path_;
  std::string last_;
};

class Silent final : public Progress {
 public:
  void step(const std::string&, std::int64_t, std::int64_t) override {}
  void linear(const std::string&) override {}
  void note(const std::string&) override {}
  bool stop_requested() override { return false; }
};

ThroughputMeasure small_measure() {
  ThroughputMeasure measure;
  measure.tokens = {1, 9};
  measure.models = {{"shapes", {{"", 40, 128}, {"", 16, 64}}}};
  measure.pipelines = {"matmul", "hadamard", "wush"};
  measure.repeats = 3;
  measure.warmup = 1;
  return measure;
}

CellSpec cell_of(std::optional<numerics::Format> format) {
  CellSpec cell;
  cell.format = format;
  cell.parameters.model = "shapes";
  cell.parameters.format =
      format ? std::string(numerics::describe(*format).name) : "none";
  return cell;
}

CellResult measure(SpoiledBackend& backend,
                   std::optional<numerics::Format> format,
                   const ThroughputMeasure& what = small_measure()) {
  Silent progress;
  return measure_throughput(backend, what, cell_of(format), progress);
}

class ThroughputFormat : public ::testing::TestWithParam<numerics::Format> {};

TEST_P(ThroughputFormat, MeasuresEveryPathOfEveryShape) {
  SpoiledBackend backend;
  const CellResult result = measure(backend, GetParam());
  ASSERT_EQ(result.status, CellStatus::kDone) << result.error;
  const DataTable& table = result.tables.at(kThroughputTable);
  ASSERT_EQ(table.rows(), 2u * 2 * 4);  // shapes, tokens, paths
  const auto at = [&](const char* name) -> const DataValues& {
    return table.find(name)->values;
  };
  EXPECT_EQ(std::get<Counts>(at("tokens"))[4], 9);
  EXPECT_EQ(std::get<Counts>(at("outputs"))[8], 16);
  EXPECT_EQ(std::get<Counts>(at("inputs"))[8], 64);
  const Texts& paths = std::get<Texts>(at("path"));
  EXPECT_EQ(Texts(paths.begin(), paths.begin() + 4),
            (Texts{"float32", "matmul", "hadamard", "wush"}));
  EXPECT_THAT(std::get<Counts>(at("repeats")), Each(3));
  EXPECT_THAT(std::get<Counts>(at("rotation_bytes")), Each(Gt(0)));
  const Seconds& median = std::get<Seconds>(at("seconds"));
  for (std::size_t i = 0; i < table.rows(); ++i) {
    EXPECT_GT(std::get<Seconds>(at("seconds_min"))[i], 0);
    EXPECT_LE(std::get<Seconds>(at("seconds_min"))[i],
              std::get<Seconds>(at("seconds_p25"))[i]);
    EXPECT_LE(std::get<Seconds>(at("seconds_p25"))[i], median[i]);
    EXPECT_LE(median[i], std::get<Seconds>(at("seconds_p75"))[i]);
  }
  EXPECT_EQ(std::get<std::string>(table.attributes.at("device")),
            backend.device());
  EXPECT_EQ(std::get<double>(table.attributes.at("copy_bytes_per_second")),
            1e9);
  EXPECT_FALSE(is_reproducible(table));
}

TEST_P(ThroughputFormat, EveryScaleRuleAndBlockIsVerified) {
  const auto backend = make_throughput_backend("cpu", 1);
  const RandomValues values(7);
  for (const auto rule :
       {numerics::ScaleRule::kMse2, numerics::ScaleRule::kSearch}) {
    for (const int block : {32, 64, 128}) {
      const LinearProblem problem{5, 24, 256, GetParam(), rule, block};
      backend->prepare(problem, values);
      for (const char* path : {"float32", "matmul", "hadamard", "wush"}) {
        EXPECT_NO_THROW(verify_path(*backend, problem, path, values)) << path;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ThroughputFormat,
    ::testing::Values(numerics::Format::kMxfp4, numerics::Format::kNvfp4,
                      numerics::Format::kInt4, numerics::Format::kMxfp4Ocp),
    [](const auto& test) {
      std::string name(numerics::describe(test.param).name);
      std::erase(name, '-');
      return name;
    });

TEST(Throughput, TheBaselineCellHoldsBaselinesOnly) {
  SpoiledBackend backend;
  const CellResult result = measure(backend, std::nullopt);
  ASSERT_EQ(result.status, CellStatus::kDone) << result.error;
  const DataTable& table = result.tables.at(kThroughputTable);
  EXPECT_THAT(std::get<Texts>(table.find("path")->values), Each("float32"));
  EXPECT_EQ(table.rows(), 4u);
}

TEST(Throughput, PathsTakeTurns) {
  SpoiledBackend backend;
  ThroughputMeasure what = small_measure();
  what.tokens = {1};
  what.models[0].layers.resize(1);
  what.pipelines = {"matmul"};
  what.repeats = 2;
  measure(backend, numerics::Format::kMxfp4, what);
  EXPECT_EQ(backend.timed, (Texts{"float32", "matmul", "float32", "matmul",
                                  "float32", "matmul"}));
}

// One code of the last column, by the smallest step.
void change_code(PackedRow& row) { row.codes.back() ^= 0x10; }

struct Spoiled {
  const char* name;
  const char* path;
  std::function<void(std::vector<float>&)> output;
  std::function<void(PackedRow&)> packed;
  const char* message;
};

std::ostream& operator<<(std::ostream& out, const Spoiled& spoiled) {
  return out << spoiled.name;
}

class ThroughputSpoiled : public ::testing::TestWithParam<Spoiled> {};

TEST_P(ThroughputSpoiled, FailsTheCellBeforeAnythingIsTimed) {
  const Spoiled& spoiled = GetParam();
  SpoiledBackend backend(spoiled.path);
  backend.spoil_output = spoiled.output;
  backend.spoil_packed = spoiled.packed;
  const CellResult result = measure(backend, numerics::Format::kNvfp4);
  EXPECT_EQ(result.status, CellStatus::kFailed);
  EXPECT_THAT(result.error,
              AllOf(HasSubstr("40 x 128, 1 tokens"),
                    HasSubstr(std::string("path ") + spoiled.path),
                    HasSubstr(spoiled.message)));
  EXPECT_THAT(result.tables, IsEmpty());
  EXPECT_THAT(backend.timed, IsEmpty());
}

const auto kOffByThousandth = [](std::vector<float>& y) {
  for (float& value : y) value *= 1.001f;
};

INSTANTIATE_TEST_SUITE_P(
    All, ThroughputSpoiled,
    ::testing::Values(
        Spoiled{"Baseline", "float32", kOffByThousandth, nullptr, "expected"},
        Spoiled{"Product", "matmul", kOffByThousandth, nullptr, "expected"},
        Spoiled{"ProductAfterWush", "wush", kOffByThousandth, nullptr,
                "expected"},
        Spoiled{"NotANumber", "hadamard",
                [](std::vector<float>& y) {
                  for (float& value : y) value = std::nanf("");
                },
                nullptr, "found nan"},
        Spoiled{"Code", "matmul", nullptr, change_code,
                "differs from the specification"},
        // Zeros instead of what was packed: y is that of the true codes.
        Spoiled{"NothingPacked", "wush", nullptr,
                [](PackedRow& row) { row.codes.assign(row.codes.size(), 0); },
                "y["}),
    [](const auto& test) { return std::string(test.param.name); });

// Here y is right for what was packed.
TEST(Throughput, AnotherTransformThanTheOneAskedForFails) {
  SpoiledBackend backend("wush");
  backend.run_instead = "hadamard";
  const CellResult result = measure(backend, numerics::Format::kMxfp4);
  EXPECT_EQ(result.status, CellStatus::kFailed);
  EXPECT_THAT(result.error,
              HasSubstr("expected a squared error of at most 1.01 times"));
}

}  // namespace
}  // namespace wush
