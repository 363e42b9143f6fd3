#include "lib/throughput/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/numerics/group_quantizer.h"
#include "lib/linalg/block_math.h"
#include "lib/support/error.h"

namespace wush {
namespace {

using numerics::ScaleRule;

constexpr std::int64_t kRows = 8;
constexpr std::int64_t kCols = 8;
constexpr double kErrorFactor = 1.01;

using Values = std::vector<double>;

// Up to `count` indices below `size`, spread over it, each once.
std::vector<std::int64_t> sample(std::int64_t size, std::int64_t count) {
  std::vector<std::int64_t> indices;
  count = std::min(size, count);
  for (std::int64_t i = 0; i < count; ++i) {
    indices.push_back((2 * i + 1) * size / (2 * count));
  }
  return indices;
}

Values row_of(const RandomValues& values, Operand operand, std::int64_t row,
              std::int64_t inputs) {
  Values result(static_cast<std::size_t>(inputs));
  for (std::int64_t k = 0; k < inputs; ++k) {
    result[static_cast<std::size_t>(k)] =
        static_cast<double>(values.at(operand, row * inputs + k));
  }
  return result;
}

// The specification's codes and scales of a row in float32.
PackedRow pack(numerics::Format format, ScaleRule rule, const Values& row) {
  PackedRow packed{std::vector<std::uint8_t>(row.size() / 2), {}};
  numerics::dispatch_format(format, [&]<numerics::Format F>() {
    using Quantizer = numerics::GroupQuantizer<F, float>;
    for (std::size_t g = 0; g < row.size(); g += Quantizer::kGroup) {
      float group[Quantizer::kGroup];
      std::uint8_t codes[Quantizer::kGroup];
      for (std::size_t i = 0; i < Quantizer::kGroup; ++i) {
        group[i] = static_cast<float>(row[g + i]);
      }
      const std::uint16_t scale = Quantizer{}.quantize(group, rule, codes);
      for (std::size_t i = 0; i < Quantizer::kGroup; i += 2) {
        packed.codes[(g + i) / 2] =
            static_cast<std::uint8_t>(codes[i] | codes[i + 1] << 4);
      }
      packed.scales.push_back(static_cast<std::uint8_t>(scale));
      if constexpr (Quantizer::kFormat.scale_bytes() == 2) {
        packed.scales.push_back(static_cast<std::uint8_t>(scale >> 8));
      }
    }
  });
  return packed;
}

Values decode(numerics::Format format, const PackedRow& packed) {
  Values values(2 * packed.codes.size());
  numerics::dispatch_format(format, [&]<numerics::Format F>() {
    using Quantizer = numerics::GroupQuantizer<F, double>;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t group = i / Quantizer::kGroup;
      std::uint16_t scale = 0;
      if constexpr (Quantizer::kFormat.scale_bytes() == 2) {
        scale = static_cast<std::uint16_t>(packed.scales[2 * group] |
                                           packed.scales[2 * group + 1] << 8);
      } else {
        scale = packed.scales[group];
      }
      const auto code =
          static_cast<std::uint8_t>(packed.codes[i / 2] >> (4 * (i % 2)) & 15);
      values[i] =
          Quantizer::element(code) * Quantizer{}.decode_multiplier(scale);
    }
  });
  return values;
}

// T x of one row in double.
Values transformed(const RandomValues& values, const std::string& path,
                   const LinearProblem& problem, const Values& x) {
  const std::int64_t block = problem.transform_block;
  const bool is_hadamard = path == "hadamard";
  const Eigen::MatrixXd hadamard =
      is_hadamard ? hadamard_matrix(problem.transform_block)
                  : Eigen::MatrixXd();
  Values y(x.size());
  for (std::int64_t i = 0; i < problem.inputs; ++i) {
    const std::int64_t first = i / block * block;
    double sum = 0;
    for (std::int64_t k = 0; k < block; ++k) {
      const double t = is_hadamard ? hadamard(i - first, k)
                                   : static_cast<double>(values.at(
                                         Operand::kTransform, i * block + k));
      sum += t * x[static_cast<std::size_t>(first + k)];
    }
    y[static_cast<std::size_t>(i)] = sum;
  }
  return y;
}

double squared_distance(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// The squared errors of the packed activations of a pipeline.
class ActivationCheck {
 public:
  void add(const LinearProblem& problem, const Values& exact,
           const PackedRow& packed) {
    const PackedRow wanted =
        pack(*problem.format, problem.activation_scale, exact);
    error_ += squared_distance(decode(*problem.format, packed), exact);
    wanted_ += squared_distance(decode(*problem.format, wanted), exact);
  }
  void check() const {
    if (error_ <= kErrorFactor * wanted_) return;
    throw NumericalError(
        fmt::format("packed activations: expected a squared error of at most "
                    "{} times the specification's {:.6g}, found {:.6g}",
                    kErrorFactor, wanted_, error_));
  }

 private:
  double error_ = 0;
  double wanted_ = 0;
};

void check_packed(const LinearProblem& problem, std::int64_t token,
                  const Values& x, const PackedRow& packed) {
  const PackedRow wanted = pack(*problem.format, problem.activation_scale, x);
  if (packed.codes == wanted.codes && packed.scales == wanted.scales) return;
  throw NumericalError(fmt::format(
      "packed activations: row {} differs from the specification", token));
}

void check_output(const LinearProblem& problem, const RoundingBound& bound,
                  std::int64_t token, std::int64_t output, const Values& x,
                  const Values& w, double found) {
  double sum = 0;
  double magnitude = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    sum += x[k] * w[k];
    magnitude += std::abs(x[k] * w[k]);
  }
  const double tolerance =
      std::abs(sum) * bound.output + magnitude * bound.products;
  if (std::abs(found - sum) <= tolerance) return;  // false for NaN
  throw NumericalError(fmt::format(
      "y[{}, {}] of [{}, {}]: expected {:.6g} within {:.2g}, found "
      "{:.6g}",
      token, output, problem.tokens, problem.outputs, sum, tolerance, found));
}

// The weights of the sampled outputs as the path multiplies with them.
std::vector<Values> sampled_weights(const LinearProblem& problem,
                                    bool is_packed, const RandomValues& values,
                                    const std::vector<std::int64_t>& outputs) {
  std::vector<Values> rows;
  for (const std::int64_t n : outputs) {
    Values row = row_of(values, Operand::kWeights, n, problem.inputs);
    if (is_packed) {
      row = decode(*problem.format,
                   pack(*problem.format, ScaleRule::kAbsMax, row));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

void verify_path(ThroughputBackend& backend, const LinearProblem& problem,
                 const std::string& path, const RandomValues& values) {
  const std::vector<std::string> baselines = backend.baselines();
  const bool is_packed =
      std::find(baselines.begin(), baselines.end(), path) == baselines.end();
  const std::vector<std::int64_t> outputs = sample(problem.outputs, kCols);
  const std::vector<Values> weights =
      sampled_weights(problem, is_packed, values, outputs);
  const RoundingBound bound = backend.rounding(path);
  backend.run(path);
  ActivationCheck activations;
  for (const std::int64_t token : sample(problem.tokens, kRows)) {
    Values x = row_of(values, Operand::kActivations, token, problem.inputs);
    if (is_packed) {
      const PackedRow packed = backend.packed_activations(token);
      if (path == "matmul") {
        check_packed(problem, token, x, packed);
      } else {
        activations.add(problem, transformed(values, path, problem, x), packed);
      }
      x = decode(*problem.format, packed);
    }
    const std::vector<float> y = backend.output(token);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      check_output(
          problem, bound, token, outputs[i], x, weights[i],
          static_cast<double>(y[static_cast<std::size_t>(outputs[i])]));
    }
  }
  activations.check();
}

}  // namespace wush
