#include "lib/pipeline/solve_block.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/numerics/group_quantizer.h"
#include "lib/linalg/philox.h"
#include "lib/solver/solver.h"
#include "lib/support/error.h"

namespace wush {
namespace {

// Linears with one input, [first, last): those that `fuse` stacks.
constexpr std::array<std::pair<int, int>, kInputSites> kSiteLinears = {
    {{0, 3}, {3, 4}, {4, 6}, {6, 7}}};

const std::pair<int, int>& site_linears(InputSite site) {
  return kSiteLinears[static_cast<std::size_t>(site)];
}

// Rows [first, first + count) of a packed matrix as one of its own.
PackedMatrix take_rows(Device& device, const PackedMatrix& all,
                       std::int64_t first, std::int64_t count) {
  const PackedView source = all.view().rows_from(first, count);
  PackedMatrix part(device, source.format, count, source.cols);
  part.set_unit(source.unit);
  const auto copy_bytes = [&](const std::uint8_t* from, std::uint8_t* to,
                              std::int64_t bytes) {
    const auto size = static_cast<std::size_t>(bytes);
    device.copy(from, size, to, size, size, 1);
  };
  copy_bytes(source.codes, part.view().codes, source.code_bytes());
  copy_bytes(source.scales, part.view().scales, source.scale_bytes());
  return part;
}

// Solves the linears [first, last), stacked where there are several. Throws
// Interrupted.
void solve_group(Device& device, const DecoderBlock& block, std::int64_t layer,
                 const Hessian& hessian, const CellMethod& method, int repeat,
                 int first, int last, Progress& progress, SolvedBlock& solved) {
  if (progress.stop_requested()) throw Interrupted();
  const LinearLayer& head = block.linear(first);
  std::int64_t rows = 0;
  for (int i = first; i < last; ++i) rows += block.linear(i).out;
  Matrix<float> stacked(device, last - first > 1 ? rows : 0, head.in);
  for (std::int64_t i = first, row = 0; !stacked.empty() && i < last; ++i) {
    const LinearLayer& linear = block.linear(static_cast<int>(i));
    copy(device, linear.weight.view(),
         stacked.view().rows_from(row, linear.out));
    row += linear.out;
  }
  progress.linear(head.label);
  LinearProblem problem;
  problem.weight =
      stacked.empty() ? head.weight.view() : std::as_const(stacked).view();
  problem.hessian = &hessian;
  problem.transform = method.transform.get();
  problem.format = method.format;
  std::string fallback;
  problem.width = method.block_width(head.in, head.label, &fallback);
  problem.options = method.options;
  problem.options.seed += static_cast<std::uint64_t>(repeat);
  problem.stream = stream_of(head.label);
  problem.label = head.label;
  QuantizedWeights weights = solve_linear(device, problem, method.solver);
  if (!weights.fallback.empty()) {
    fallback += (fallback.empty() ? "" : "; ") + weights.fallback;
  }
  auto transform =
      std::make_shared<const FittedTransform>(std::move(weights.transform));
  for (std::int64_t i = first, row = 0; i < last; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const LinearLayer& linear = block.linear(static_cast<int>(i));
    QuantizedLinear& target = solved.linears[index];
    target.weights = stacked.empty()
                         ? std::move(weights.weights)
                         : take_rows(device, weights.weights, row, linear.out);
    target.transform = transform;
    target.activation = {method.format, method.options.activation_scale, 0};
    row += linear.out;
    solved.records.push_back(
        {static_cast<int>(layer), std::string(kLinears[index].name),
         weights.damping, weights.attempts, weights.dead_blocks, fallback,
         weights.weight_error});
    if (weights.attempts > 1) {
      progress.note(fmt::format("{}: damping raised to {:g}", linear.label,
                                weights.damping));
    }
    if (!fallback.empty()) {
      progress.note(fmt::format("{}: {}", linear.label, fallback));
    }
  }
}

}  // namespace

CellMethod::CellMethod(const CellSpec& spec)
    : format(spec.format.value()),
      transform(make_transform(spec.transform)),
      solver(find_solver(spec.method).kind),
      needs_full_hessian(find_solver(spec.method).needs_full_hessian ||
                         (transform->needs_moments() &&
                          spec.options.moments == MomentsKind::kConditional)),
      options(spec.options) {}

std::int64_t CellMethod::block_width(std::int64_t in, const std::string& label,
                                     std::string* fallback) const {
  const std::int64_t group = describe(format).group;
  const std::int64_t wanted =
      options.transform_block > 0 ? options.transform_block : group;
  if (in % wanted == 0) return wanted;
  if (options.transform_block_fallback && in % group == 0) {
    *fallback = fmt::format("transform block {} ({} does not divide {})", group,
                            wanted, in);
    return group;
  }
  throw NumericalError(fmt::format(
      "{}: {} input channels are not whole blocks of {}", label, in, wanted));
}

bool CellMethod::has_tensor_unit() const {
  return options.global_scale == GlobalScale::kAmax &&
         describe(format).global_scale;
}

SiteHessians make_hessians(Device& device, const DecoderBlock& block,
                           const CellMethod* method) {
  SiteHessians hessians;
  for (int site = 0; site < kInputSites; ++site) {
    const auto index = static_cast<std::size_t>(site);
    const LinearLayer& linear = block.linear(kSiteLinears[index].first);
    std::string ignored;
    const bool full = method == nullptr || method->needs_full_hessian;
    hessians[index] = std::make_unique<Hessian>(
        device, linear.in,
        full ? linear.in
             : method->block_width(linear.in, linear.label, &ignored));
  }
  return hessians;
}

void visit_block_inputs(Device& device, const DecoderBlock& block,
                        const RotaryTable& rotary,
                        MatrixView<const float> hidden, const InputHook& hook) {
  for_chunks(hidden.rows, rotary.cosines.rows(),
             [&](std::int64_t row, std::int64_t rows) {
               Matrix<float> chunk(device, rows, hidden.cols);
               copy(device, hidden.rows_from(row, rows), chunk.view());
               block.visit_inputs(device, rotary, chunk.view(), hook);
             });
}

void accumulate_hessians(Device& device, const DecoderBlock& block,
                         const RotaryTable& rotary,
                         MatrixView<const float> hidden,
                         SiteHessians& hessians) {
  visit_block_inputs(device, block, rotary, hidden,
                     [&](InputSite site, MatrixView<const float> x) {
                       hessians[static_cast<std::size_t>(site)]->accumulate(
                           device, x);
                     });
}

SolvedBlock solve_block(Device& device, const DecoderBlock& block,
                        std::int64_t layer, const SiteHessians& hessians,
                        const CellMethod& method, int repeat,
                        Progress& progress) {
  SolvedBlock solved;
  for (int site = 0; site < kInputSites; ++site) {
    const auto [first, last] = kSiteLinears[static_cast<std::size_t>(site)];
    const Hessian& hessian = *hessians[static_cast<std::size_t>(site)];
    const int step = method.options.fuse ? last - first : 1;
    for (int i = first; i < last; i += step) {
      solve_group(device, block, layer, hessian, method, repeat, i, i + step,
                  progress, solved);
    }
  }
  return solved;
}

SolvedBlock solve_linear_of_block(Device& device, const DecoderBlock& block,
                                  std::int64_t layer,
                                  const SiteHessians& hessians,
                                  const CellMethod& method, int repeat,
                                  int linear, Progress& progress) {
  const InputSite site = kLinears[static_cast<std::size_t>(linear)].site;
  const auto [first, last] =
      method.options.fuse ? site_linears(site) : std::pair(linear, linear + 1);
  SolvedBlock solved;
  solve_group(device, block, layer, *hessians[static_cast<std::size_t>(site)],
              method, repeat, first, last, progress, solved);
  return solved;
}

void set_activation_units(Device& device, const DecoderBlock& block,
                          const RotaryTable& rotary,
                          MatrixView<const float> hidden,
                          const CellMethod& method, BlockLinears& linears) {
  std::array<float, kLinearCount> amax{};
  visit_block_inputs(
      device, block, rotary, hidden,
      [&](InputSite site, MatrixView<const float> x) {
        const auto [first, last] = site_linears(site);
        for (int i = first; i < last; ++i) {
          const auto index = static_cast<std::size_t>(i);
          amax[index] = std::max(
              amax[index],
              largest_transformed(device, *linears[index].transform, x));
        }
      });
  for (std::size_t i = 0; i < linears.size(); ++i) {
    linears[i].activation.unit = numerics::amax_unit(method.format, amax[i]);
  }
}

void install(DecoderBlock& block, BlockLinears linears) {
  for (int i = 0; i < kLinearCount; ++i) {
    LinearLayer& linear = block.linear(i);
    linear.quantized = std::move(linears[static_cast<std::size_t>(i)]);
    linear.weight = Matrix<float>();
  }
}

}  // namespace wush
