#include "lib/throughput/throughput.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "lib/experiment/throughput_measure.h"
#include "lib/support/error.h"
#include "lib/throughput/random_values.h"
#include "lib/throughput/verify.h"

namespace wush {
namespace {

using Clock = std::chrono::steady_clock;

// Raised by hand whenever something else is timed under the same names.
constexpr int kRevision = 1;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct TimedRow {
  const ThroughputProblem* problem;
  std::string path;
  std::vector<double> seconds;  // ascending
  std::int64_t rotation_bytes;

  // The quantile between the two nearest samples.
  double at(double q) const {
    const double position = q * static_cast<double>(seconds.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, seconds.size() - 1);
    const double share = position - static_cast<double>(below);
    return seconds[below] + share * (seconds[above] - seconds[below]);
  }
};

template <class T, class F>
DataColumn column(const std::string& name, const std::string& unit,
                  const std::vector<TimedRow>& rows, F&& value) {
  std::vector<T> values;
  for (const TimedRow& row : rows) values.push_back(value(row));
  return {name, unit, std::move(values)};
}

DataTable make_table(ThroughputBackend& backend,
                     const std::vector<TimedRow>& rows, int repeats) {
  using Count = std::int64_t;
  using Text = std::string;
  DataTable table;
  table.attributes = backend.attributes();
  table.attributes["device"] = backend.device();
  table.attributes["copy_bytes_per_second"] = backend.copy_bandwidth();
  table.attributes["cache_bytes"] = backend.cache_bytes();
  table.attributes[kReproducible] = std::string("no");
  table.columns = {
      column<Count>("tokens", "", rows,
                    [](const auto& r) { return r.problem->linear.tokens; }),
      column<Count>("outputs", "", rows,
                    [](const auto& r) { return r.problem->linear.outputs; }),
      column<Count>("inputs", "", rows,
                    [](const auto& r) { return r.problem->linear.inputs; }),
      column<Text>("layer", "", rows,
                   [](const auto& r) { return r.problem->layer; }),
      column<Text>("path", "", rows, [](const auto& r) { return r.path; }),
      column<double>("seconds", "s", rows,
                     [](const auto& r) { return r.at(0.5); }),
      column<double>("seconds_p25", "s", rows,
                     [](const auto& r) { return r.at(0.25); }),
      column<double>("seconds_p75", "s", rows,
                     [](const auto& r) { return r.at(0.75); }),
      column<double>("seconds_min", "s", rows,
                     [](const auto& r) { return r.seconds.front(); }),
      column<Count>("repeats", "", rows,
                    [&](const auto&) { return Count{repeats}; }),
      column<Count>("rotation_bytes", "B", rows,
                    [](const auto& r) { return r.rotation_bytes; })};
  return table;
}

std::string problem_label(const ThroughputProblem& problem) {
  const LinearProblem& linear = problem.linear;
  return fmt::format("{}{}{} x {}, {} tokens", problem.layer,
                     problem.layer.empty() ? "" : " ", linear.outputs,
                     linear.inputs, linear.tokens);
}

// Verifies and times all paths of one problem.
class Measurement {
 public:
  Measurement(ThroughputBackend& backend, const ThroughputMeasure& measure,
              const CellSpec& cell)
      : backend_(backend),
        measure_(measure),
        paths_(throughput_paths(backend, measure, cell)),
        values_(cell.options.seed) {}

  void verify(const ThroughputProblem& problem) {
    rotation_ = backend_.prepare(problem.linear, values_);
    for (const std::string& path : paths_) {
      try {
        verify_path(backend_, problem.linear, path, values_);
      } catch (const NumericalError& error) {
        throw NumericalError(fmt::format(
            "{}, path {}: {}", problem_label(problem), path, error.what()));
      }
    }
  }

  void time(const ThroughputProblem& problem, std::vector<TimedRow>& rows) {
    for (int i = 0; i < measure_.warmup; ++i) {
      for (const std::string& path : paths_) backend_.time(path);
    }
    std::vector<std::vector<double>> samples(paths_.size());
    for (int i = 0; i < measure_.repeats; ++i) {
      for (std::size_t p = 0; p < paths_.size(); ++p) {
        samples[p].push_back(backend_.time(paths_[p]));
      }
    }
    for (std::size_t p = 0; p < paths_.size(); ++p) {
      std::sort(samples[p].begin(), samples[p].end());
      rows.push_back(
          {&problem, paths_[p], std::move(samples[p]), rotation_.bytes});
    }
  }

 private:
  ThroughputBackend& backend_;
  const ThroughputMeasure& measure_;
  std::vector<std::string> paths_;
  RandomValues values_;
  Rotation rotation_;
};

std::vector<TimedRow> measure_rows(
    ThroughputBackend& backend, const ThroughputMeasure& measure,
    const CellSpec& cell, const std::vector<ThroughputProblem>& problems,
    Progress& progress, std::map<std::string, double>& seconds) {
  Measurement measurement(backend, measure, cell);
  std::vector<TimedRow> rows;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    if (progress.stop_requested()) throw Interrupted();
    progress.step("throughput", static_cast<std::int64_t>(i),
                  static_cast<std::int64_t>(problems.size()));
    progress.linear(problem_label(problems[i]));
    const auto start = Clock::now();
    measurement.verify(problems[i]);
    seconds["verify"] += seconds_since(start);
    const auto verified = Clock::now();
    measurement.time(problems[i], rows);
    seconds["throughput"] += seconds_since(verified);
  }
  return rows;
}

}  // namespace

std::vector<ThroughputProblem> throughput_problems(
    const ThroughputMeasure& measure, const CellSpec& cell) {
  const auto model = std::find_if(
      measure.models.begin(), measure.models.end(),
      [&](const auto& m) { return m.name == cell.parameters.model; });
  WUSH_CHECK(model != measure.models.end(), "model {}", cell.parameters.model);
  int block = cell.options.transform_block;
  if (block == 0 && cell.format) block = numerics::describe(*cell.format).group;
  std::vector<ThroughputProblem> problems;
  for (const LayerShape& layer : model->layers) {
    for (const std::int64_t tokens : measure.tokens) {
      problems.push_back({layer.name,
                          {tokens, layer.outputs, layer.inputs, cell.format,
                           cell.options.activation_scale, block}});
    }
  }
  return problems;
}

std::vector<std::string> throughput_paths(const ThroughputBackend& backend,
                                          const ThroughputMeasure& measure,
                                          const CellSpec& cell) {
  std::vector<std::string> paths = backend.baselines();
  if (cell.format) {
    paths.insert(paths.end(), measure.pipelines.begin(),
                 measure.pipelines.end());
  }
  return paths;
}

CellResult measure_throughput(ThroughputBackend& backend,
                              const ThroughputMeasure& measure,
                              const CellSpec& cell, Progress& progress) {
  CellResult result;
  result.parameters = cell.parameters;
  const std::vector<ThroughputProblem> problems =
      throughput_problems(measure, cell);
  try {
    // Copies first: an idle device takes a while to raise its clocks.
    backend.copy_bandwidth();
    const std::vector<TimedRow> rows = measure_rows(
        backend, measure, cell, problems, progress, result.seconds);
    result.tables[kThroughputTable] =
        make_table(backend, rows, measure.repeats);
  } catch (const NumericalError& error) {
    result.status = CellStatus::kFailed;
    result.error = error.what();
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  result.peak_memory_bytes = usage.ru_maxrss * 1024;
  return result;
}

std::string throughput_mode(const ThroughputBackend& backend) {
  return fmt::format("throughput revision {} on {}", kRevision,
                     backend.device());
}

std::int64_t predict_throughput_bytes(const ThroughputBackend& backend,
                                      const ThroughputMeasure& measure,
                                      const CellSpec& cell) {
  std::int64_t bytes = 0;
  for (const ThroughputProblem& problem : throughput_problems(measure, cell)) {
    bytes = std::max(bytes, backend.predict_bytes(problem.linear));
  }
  return bytes;
}

double predict_throughput_work(const ThroughputBackend& backend,
                               const ThroughputMeasure& measure,
                               const CellSpec& cell) {
  double operations = 0;
  for (const ThroughputProblem& problem : throughput_problems(measure, cell)) {
    operations += problem.linear.operations();
  }
  const auto paths =
      static_cast<double>(throughput_paths(backend, measure, cell).size());
  return operations * paths * (1 + measure.warmup + measure.repeats);
}

DiskUse predict_throughput_disk(const ThroughputMeasure& measure,
                                const CellSpec& cell) {
  constexpr std::int64_t kObjects = 10 << 10;  // HDF5 groups, attributes
  constexpr std::int64_t kRow = 128;
  constexpr std::int64_t kMostBaselines = 2;
  const auto rows =
      static_cast<std::int64_t>(throughput_problems(measure, cell).size()) *
      (kMostBaselines + static_cast<std::int64_t>(measure.pipelines.size()));
  return {kObjects + kRow * rows, 0};
}

}  // namespace wush
