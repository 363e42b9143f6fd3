#include "tests/lib/results/sample_cells.h"

#include <cmath>
#include <limits>

namespace wush::testing {
namespace {

const std::vector<std::string> kLinears = {"q_proj", "k_proj", "down_proj"};

Perplexity sample_perplexity(int index) {
  Perplexity perplexity;
  perplexity.length = 512;
  for (int window = 0; window < 8; ++window) {
    perplexity.window_nll.push_back(2.5 + 0.01 * window + 0.1 * index);
  }
  perplexity.value = std::exp(perplexity.window_nll.front());
  perplexity.standard_error = 0.11;
  return perplexity;
}

void add_quantized(int index, CellResult& cell) {
  cell.parameters.format = "mxfp4";
  cell.parameters.transform = "kbbq";
  cell.parameters.method = "gptq";
  cell.parameters.options["lambda"] = std::to_string(index) + ".75";
  for (int layer = 0; layer < 2; ++layer) {
    for (const std::string& linear : kLinears) {
      const double mse = 0.0185 / (1 + layer + index);
      cell.layer_loss.push_back({layer, linear, mse, 2.37, {mse}});
      cell.linears.push_back({layer, linear, 0.01, 1, 0, "", 0.012});
    }
  }
  cell.linears.back().fallback = "rtn";
  cell.linears.back().attempts = 3;
  cell.linears.back().dead_blocks = 2;
  cell.divergence = Divergence{.window_kl = {0.3, 0.4},
                               .window_agreement = {0.7, 0.75},
                               .kl = 0.35,
                               .kl_standard_error = 0.05,
                               .agreement = 0.725};
}

void make_awkward(CellResult& cell) {
  using Limits = std::numeric_limits<double>;
  cell.layer_loss[0].repeats = {1, Limits::quiet_NaN(), Limits::infinity()};
  cell.layer_loss[1].repeats = {-0.0, Limits::denorm_min(), -Limits::max()};
  cell.layer_loss[2].repeats = {};
  DataTable& table = cell.tables["throughput"];
  table.attributes = {{"device", std::string("cpu")},
                      {"batch", std::int64_t{16}},
                      {"peak", 1.5e12}};
  table.columns = {
      {"stage", "", std::vector<std::string>{"prefill", "décode"}},
      {"rate", "tokens/s", std::vector<double>{1234.5, 56.25}},
      {"tokens", "tokens", std::vector<std::int64_t>{-1, 1L << 60}}};
  cell.tables["empty"].columns = {{"nothing", "", std::vector<double>{}},
                                  {"words", "", std::vector<std::string>{}}};
}

}  // namespace

CellResult sample_cell(int index) {
  CellResult cell;
  cell.parameters = {"nano",
                     "none",
                     "identity",
                     "none",
                     {{"damping", "0.01"}, {"moments", "marginal"}}};
  cell.seconds = {{"calibrate", 1.5}, {"evaluate", 0.25}};
  cell.peak_memory_bytes = 123456789;
  if (index == 2) {
    cell.parameters.format = "int4";
    cell.status = CellStatus::kFailed;
    cell.error = "layers.0.q_proj: block 3 of the hessian is not finite";
    return cell;
  }
  cell.perplexity = sample_perplexity(index);
  if (index > 0) add_quantized(index, cell);
  if (index == 3) make_awkward(cell);
  return cell;
}

std::string sample_key(int index) {
  return cell_key(sample_cell(index).parameters,
                  {{"checkpoint", "0123"}, {"numerics", "float32"}});
}

Plan sample_plan(int count) {
  Plan plan;
  plan.name = "demo";
  plan.config = "name: demo\nseed: 0\n";
  plan.digests = {{"model nano", "0123"}, {"evaluation", "4567"}};
  // Not the order of the keys, so that a merge in that order would be seen.
  for (int index = count - 1; index >= 0; --index) {
    plan.keys.push_back(sample_key(index));
  }
  return plan;
}

void run_sweep(const std::filesystem::path& directory, int count,
               std::vector<std::string>* reports) {
  ResultStore store(directory, sample_plan(count), {{"version", "0.1.0"}},
                    [&](const std::string& line) {
                      if (reports != nullptr) reports->push_back(line);
                    });
  for (int index = 0; index < count; ++index) {
    if (store.finished(sample_key(index))) continue;
    store.put(sample_key(index), sample_cell(index));
  }
  store.merge();
}

}  // namespace wush::testing
