#include "tests/analysis/synthetic_results.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "lib/experiment/cells.h"
#include "lib/experiment/config.h"
#include "lib/results/store.h"

namespace wush::testing {
namespace {

constexpr int kWindows = 5;
constexpr const char* kLinears[] = {"q_proj",   "k_proj",    "v_proj",
                                    "o_proj",   "gate_proj", "up_proj",
                                    "down_proj"};

// Deterministic, all different, between 0 and 1.
double pseudo(std::size_t a, std::size_t b) {
  const double x = std::sin(static_cast<double>(a) * 12.9898 +
                            static_cast<double>(b) * 78.233) *
                   43758.5453;
  return x - std::floor(x);
}

void fill_layer_loss(std::size_t index, CellResult& cell) {
  for (std::size_t i = 0; i < std::size(kLinears); ++i) {
    const double mse = 0.01 * (1 + pseudo(index, i));
    cell.layer_loss.push_back(
        {2, kLinears[i], mse, 1 + pseudo(99, i), {mse * 0.9, mse * 1.1}});
    cell.linears.push_back({2, kLinears[i], 0.01, 1, 0, "", 0.001});
  }
}

void fill_windows(std::size_t index, CellResult& cell) {
  Perplexity perplexity;
  perplexity.length = 16;
  double sum = 0;
  for (int w = 0; w < kWindows; ++w) {
    perplexity.window_nll.push_back(2 + pseudo(index, 100 + w));
    sum += perplexity.window_nll.back();
  }
  perplexity.value = std::exp(sum / kWindows);
  perplexity.standard_error = 0.1 + 0.01 * static_cast<double>(index);
  cell.perplexity = perplexity;
  if (cell.parameters.format == "none") return;
  Divergence divergence;
  for (int w = 0; w < kWindows; ++w) {
    divergence.window_kl.push_back(0.1 * pseudo(index, 200 + w));
    divergence.window_agreement.push_back(0.5 + 0.5 * pseudo(index, 300 + w));
    divergence.kl += divergence.window_kl.back() / kWindows;
    divergence.agreement += divergence.window_agreement.back() / kWindows;
  }
  divergence.kl_standard_error = 0.001 * static_cast<double>(index + 1);
  cell.divergence = divergence;
}

std::string sweep_yaml(const SyntheticSweep& sweep) {
  return fmt::format(
      "name: {}\n"
      "models: [{{name: {}, path: /}}]\n"
      "calibration: {{text: /, sequences: {}, length: 16}}\n"
      "evaluation: {{text: /, length: 16, windows: {}}}\n"
      "sweep: {}\n"
      "measure: {{layer_loss: {{layers: [2]}}, perplexity: {{}}, kl: {{}}}}\n",
      sweep.name, sweep.model, sweep.calibration_sequences, kWindows,
      sweep.sweep);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "wush-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw std::runtime_error("mkdtemp " + pattern);
  }
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

bool fill_all(std::size_t index, CellResult& cell) {
  if (cell.parameters.format != "none") fill_layer_loss(index, cell);
  fill_windows(index, cell);
  cell.seconds = {{"calibrate", 1.5 + static_cast<double>(index)},
                  {"solve", 0.25}};
  cell.peak_memory_bytes = 123'000'000 + static_cast<std::int64_t>(index);
  return true;
}

std::filesystem::path store_sweep(const std::filesystem::path& folder,
                                  const SyntheticSweep& sweep) {
  const ExperimentConfig config =
      parse_experiment(parse_yaml(sweep_yaml(sweep), "test.yaml"), "");
  Plan plan;
  plan.name = sweep.name;
  plan.config = resolved_yaml(config);
  std::vector<CellResult> cells;
  for (const CellSpec& spec : expand_cells(config).cells) {
    plan.keys.push_back(cell_key(
        spec.parameters,
        {{"calibration", std::to_string(sweep.calibration_sequences)}}));
    cells.emplace_back();
    cells.back().parameters = spec.parameters;
  }
  ResultStore store(folder, plan, {{"device", "cpu"}, {"version", "test"}},
                    [](const std::string&) {});
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (sweep.fill ? sweep.fill(i, cells[i]) : fill_all(i, cells[i])) {
      store.put(plan.keys[i], cells[i]);
    }
  }
  store.merge();
  return store.merged_file();
}

}  // namespace wush::testing
