// What a transform does to the channels of a real layer, on the embedded
// checkpoint.
#include "lib/pipeline/equalization.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "lib/pipeline/session.h"
#include "lib/text/corpus.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kGroup = 32;  // channels of a transform of mxfp4

class Silent : public Progress {
 public:
  void step(const std::string& what, std::int64_t, std::int64_t) override {
    measuring = what == "equalization";
  }
  void linear(const std::string&) override {}
  void note(const std::string&) override {}
  bool stop_requested() override { return stop && measuring; }
  bool stop = false, measuring = false;
};

CellResult run(const std::string& transform, double damping,
               bool stop = false) {
  const fs::path demo = fs::path(WUSH_SOURCE_DIR) / "experiments/demo";
  const Checkpoint checkpoint = Checkpoint::open(demo / "model");
  const Tokenizer tokenizer = Tokenizer::load(demo / "model");
  const Windows evaluation = cut_windows(
      tokenize_text(tokenizer, read_text(demo / "corpus/evaluation.txt"),
                    checkpoint.config().vocab_size),
      128, 8, "evaluation.txt");
  Measures measures;
  measures.equalization = EqualizationMeasure{1, "k_proj", 6};
  CellSpec spec;
  spec.format = numerics::Format::kMxfp4;
  spec.transform = {transform, 1.0};
  spec.method = "rtn";
  spec.options.damping = damping;
  const auto device = make_device("cpu", 1);
  Silent progress;
  progress.stop = stop;
  ModelSession session(*device, checkpoint, {{}, evaluation, measures},
                       progress);
  return session.run_cell(spec, nullptr, 1e9);
}

const std::vector<double>& column(const CellResult& cell, const char* name) {
  return std::get<std::vector<double>>(
      cell.tables.at(kEqualizationTable).find(name)->values);
}

// Largest over smallest value of any block of channels.
double spread(const std::vector<double>& values) {
  double widest = 1;
  for (std::size_t i = 0; i < values.size(); i += kGroup) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(i);
    const auto [low, high] = std::minmax_element(begin, begin + kGroup);
    widest = std::max(widest, *high / *low);
  }
  return widest;
}

// WUSH makes both second moments H S H^T, whose diagonal is constant, and which
// are the same for weights and activations. Damping 1e-6 of the mean moves the
// diagonals of these moments by less than a percent.
TEST(Equalization, WushMakesChannelsOfABlockEqual) {
  const CellResult cell = run("wush", 1e-6);
  ASSERT_EQ(cell.status, CellStatus::kDone) << cell.error;
  const auto& weights = column(cell, "weight_rms");
  const auto& activations = column(cell, "activation_rms");
  ASSERT_EQ(weights.size(), 256u);
  EXPECT_LT(spread(weights), 1.01);
  EXPECT_LT(spread(activations), 1.01);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_NEAR(weights[i] / activations[i], 1, 0.01) << i;
  }
}

TEST(Equalization, WithoutATransformChannelsAreTheLayersOwn) {
  const CellResult cell = run("identity", 0.01);
  const DataTable& table = cell.tables.at(kEqualizationTable);
  EXPECT_EQ(std::get<std::int64_t>(table.attributes.at("tokens")), 6 * 128);
  EXPECT_EQ(std::get<std::int64_t>(table.attributes.at("layer")), 1);
  EXPECT_EQ(std::get<std::string>(table.attributes.at("linear")), "k_proj");
  EXPECT_GT(spread(column(cell, "activation_rms")), 2);
  const auto& rms = column(cell, "weight_rms");
  const auto& largest = column(cell, "weight_max");
  const Checkpoint checkpoint =
      Checkpoint::open(fs::path(WUSH_SOURCE_DIR) / "experiments/demo/model");
  const auto device = make_device("cpu", 1);
  const DecoderBlock block(*device, checkpoint, 1);
  const LinearLayer& linear = block.linear(1);
  const std::vector<float> weights = to_host(*device, linear.weight.view());
  for (std::int64_t c = 0; c < linear.in; ++c) {
    double squares = 0;
    float most = 0;
    for (std::int64_t r = 0; r < linear.out; ++r) {
      const float w = weights[static_cast<std::size_t>(r * linear.in + c)];
      squares += static_cast<double>(w) * w;
      most = std::max(most, std::fabs(w));
    }
    const auto i = static_cast<std::size_t>(c);
    // Sums of 128 squares in double, in another order.
    EXPECT_NEAR(rms[i], std::sqrt(squares / static_cast<double>(linear.out)),
                1e-14);
    EXPECT_EQ(largest[i], most);
  }
}

TEST(Equalization, StopsBeforeItSolves) {
  EXPECT_THROW(run("wush", 0, true), Interrupted);
}

}  // namespace
}  // namespace wush
