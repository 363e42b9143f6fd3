// Conduct of a session, on the embedded checkpoint with few windows.
#include "lib/pipeline/session.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "lib/text/corpus.h"

namespace wush {
namespace {

namespace fs = std::filesystem;

class Recorder : public Progress {
 public:
  void step(const std::string& stage, std::int64_t index,
            std::int64_t) override {
    if (stage == stop_stage && index == stop_index) stop = true;
  }
  void linear(const std::string&) override {}
  void note(const std::string& line) override { notes.push_back(line); }
  bool stop_requested() override { return stop; }

  std::string stop_stage;
  std::int64_t stop_index = 0;
  bool stop = false;
  std::vector<std::string> notes;
};

const fs::path kDemo = fs::path(WUSH_SOURCE_DIR) / "experiments/demo";

class Session : public ::testing::Test {
 protected:
  CellResult run(const CellSpec& spec, int threads = 2,
                 const BlockCheckpoint* partial = nullptr,
                 double save_seconds = 1e9) {
    const auto device = make_device("cpu", threads);
    ModelSession session(*device, checkpoint_,
                         {calibration_, evaluation_, measures_}, progress_);
    return session.run_cell(spec, partial, save_seconds);
  }

  static CellSpec spec(const std::string& transform,
                       const std::string& method) {
    CellSpec cell;
    cell.format = numerics::Format::kNvfp4;
    cell.transform = {transform, 1.0};
    cell.method = method;
    return cell;
  }

  static Windows windows(const char* file, std::int64_t count) {
    const Tokenizer tokenizer = Tokenizer::load(kDemo / "model");
    return cut_windows(
        tokenize_text(tokenizer, read_text(kDemo / "corpus" / file), 4096), 128,
        count, file);
  }

  static Measures all_measures() {
    Measures measures;
    measures.layer_loss = LayerLossMeasure{{1}, 2, true, {{"random", 3}}};
    measures.perplexity = true;
    measures.kl = true;
    return measures;
  }

  Checkpoint checkpoint_ = Checkpoint::open(kDemo / "model");
  Windows calibration_ = windows("calibration.txt", 8);
  Windows evaluation_ = windows("evaluation.txt", 4);
  Measures measures_ = all_measures();
  Recorder progress_;
};

TEST_F(Session, SameBitsForAnyNumberOfThreads) {
  for (const char* method : {"rtn", "gptq"}) {
    const CellResult one = run(spec("wush", method), 1);
    const CellResult three = run(spec("wush", method), 3);
    ASSERT_EQ(one.status, CellStatus::kDone) << one.error;
    EXPECT_EQ(one.perplexity->window_nll, three.perplexity->window_nll);
    EXPECT_EQ(one.divergence->window_kl, three.divergence->window_kl);
    ASSERT_EQ(one.layer_loss.size(), 7u);
    for (std::size_t i = 0; i < 7; ++i) {
      EXPECT_EQ(one.layer_loss[i].mse, three.layer_loss[i].mse);
    }
  }
}

TEST_F(Session, TheUnquantizedModelIsItsOwnReference) {
  const CellResult base = run(CellSpec{});
  ASSERT_TRUE(base.perplexity);
  EXPECT_EQ(base.perplexity->window_nll.size(), 4u);
  EXPECT_FALSE(base.divergence);
  const CellResult quantized = run(spec("identity", "rtn"));
  EXPECT_GT(quantized.perplexity->value, base.perplexity->value);
  EXPECT_GT(quantized.divergence->kl, 0);
  EXPECT_GT(quantized.divergence->agreement, 0.3);
  EXPECT_LT(quantized.divergence->agreement, 1);
}

TEST_F(Session, AnInterruptedCellGoesOnWithTheSameBits) {
  const CellResult whole = run(spec("wush", "gptq"));
  const fs::path folder = fs::path(::testing::TempDir()) /
                          ("wush-partial-" + std::to_string(getpid()));
  fs::create_directories(folder);
  const BlockCheckpoint partial(folder / "cell.partial", "cell",
                                folder / "quarantine", {});
  progress_.stop_stage = "quantize";
  progress_.stop_index = 2;
  EXPECT_THROW(run(spec("wush", "gptq"), 2, &partial, 0), Interrupted);
  ASSERT_TRUE(fs::exists(folder / "cell.partial"));
  progress_ = Recorder();
  const CellResult resumed = run(spec("wush", "gptq"), 2, &partial, 0);
  ASSERT_FALSE(progress_.notes.empty());
  EXPECT_EQ(progress_.notes[0], "taken up at block 2 of 4");
  EXPECT_EQ(resumed.perplexity->window_nll, whole.perplexity->window_nll);
  EXPECT_EQ(resumed.divergence->window_kl, whole.divergence->window_kl);
  EXPECT_EQ(resumed.linears.size(), whole.linears.size());
  EXPECT_EQ(resumed.layer_loss.size(), whole.layer_loss.size());
  fs::remove_all(folder);
}

TEST_F(Session, RepeatsOfARandomTransformDiffer) {
  measures_.perplexity = measures_.kl = false;
  const CellResult result = run(spec("random", "rtn"));
  for (const LayerLoss& loss : result.layer_loss) {
    ASSERT_EQ(loss.repeats.size(), 3u);
    EXPECT_NE(loss.repeats[0], loss.repeats[1]);
    EXPECT_NEAR(loss.mse,
                (loss.repeats[0] + loss.repeats[1] + loss.repeats[2]) / 3,
                loss.mse * 1e-14);
    EXPECT_GT(loss.signal, loss.mse);
  }
}

TEST_F(Session, MomentsOfTheCalibrationTextGiveAHeldOutLoss) {
  measures_.perplexity = measures_.kl = false;
  const CellResult seen = run(spec("wush", "rtn"));
  measures_.layer_loss->evaluation_moments = false;
  const CellResult held_out = run(spec("wush", "rtn"));
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(seen.layer_loss[i].signal, held_out.layer_loss[i].signal);
    EXPECT_NE(seen.layer_loss[i].mse, held_out.layer_loss[i].mse);
  }
}

TEST_F(Session, OptionsChangeTheNumbers) {
  measures_.layer_loss.reset();
  const double plain = run(spec("wush", "rtn")).perplexity->value;
  const auto changed = [&](auto change) {
    CellSpec cell = spec("wush", "rtn");
    change(cell.options);
    const CellResult result = run(cell);
    EXPECT_EQ(result.status, CellStatus::kDone) << result.error;
    return result.perplexity->value;
  };
  EXPECT_NE(changed([](auto& o) { o.fuse = true; }), plain);
  EXPECT_NE(changed([](auto& o) { o.global_scale = GlobalScale::kAmax; }),
            plain);
  EXPECT_NE(changed([](auto& o) { o.moments = MomentsKind::kConditional; }),
            plain);
  EXPECT_NE(changed([](auto& o) { o.transform_block = 128; }), plain);
  EXPECT_NE(
      changed([](auto& o) { o.transform_dtype = TransformType::kBfloat16; }),
      plain);
  EXPECT_NE(changed([](auto& o) {
              o.activation_scale = numerics::ScaleRule::kSearch;
            }),
            plain);
  EXPECT_NE(
      changed([](auto& o) { o.weight_scale = numerics::ScaleRule::kMse2; }),
      plain);
}

TEST_F(Session, ABlockThatDoesNotFitFailsTheCellOrFallsBackOnRecord) {
  measures_.layer_loss.reset();
  CellSpec cell = spec("hadamard", "rtn");
  cell.options.transform_block = 512;  // 768 channels of down_proj
  const CellResult failed = run(cell);
  EXPECT_EQ(failed.status, CellStatus::kFailed);
  EXPECT_NE(failed.error.find("not whole blocks of 512"), std::string::npos)
      << failed.error;
  EXPECT_FALSE(failed.perplexity);
  cell.options.transform_block_fallback = true;
  const CellResult fallen = run(cell);
  EXPECT_EQ(fallen.status, CellStatus::kDone) << fallen.error;
  int recorded = 0;
  for (const LinearRecord& record : fallen.linears) {
    if (!record.fallback.empty()) ++recorded;
  }
  EXPECT_EQ(recorded, 28);
  EXPECT_FALSE(progress_.notes.empty());
}

}  // namespace
}  // namespace wush
