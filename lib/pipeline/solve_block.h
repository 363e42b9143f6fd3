// Calibrating and quantizing the linears of one decoder block.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/experiment/cell_spec.h"
#include "lib/model/decoder_block.h"
#include "lib/pipeline/progress.h"
#include "lib/results/cell.h"
#include "lib/solver/hessian.h"
#include "lib/solver/registry.h"

namespace wush {

// Tokens that go through a block at once; windows are not cut.
inline constexpr std::int64_t kChunkTokens = 4096;

// Calls body(first_row, rows) for chunks of whole windows.
template <class Body>
void for_chunks(std::int64_t rows, std::int64_t length, const Body& body) {
  const std::int64_t chunk =
      std::max<std::int64_t>(1, kChunkTokens / length) * length;
  for (std::int64_t row = 0; row < rows; row += chunk) {
    body(row, std::min(chunk, rows - row));
  }
}

// What a quantized cell does to a linear, its names resolved.
struct CellMethod {
  explicit CellMethod(const CellSpec& spec);

  numerics::Format format;
  std::unique_ptr<Transform> transform;
  SolverKind solver;
  bool needs_full_hessian;
  QuantizationOptions options;

  // Channels of a transform on a linear of `in` channels. Where the wanted
  // block does not divide `in`, the group if options.transform_block_fallback
  // (then `fallback` says so), else throws NumericalError.
  std::int64_t block_width(std::int64_t in, const std::string& label,
                           std::string* fallback) const;
  // Whether an activation's decode constant is made from calibration tokens.
  bool has_tensor_unit() const;
};

// Hessians of the inputs of a block's linears, by site.
using SiteHessians = std::array<std::unique_ptr<Hessian>, kInputSites>;

// For the inputs of `block`; whole, or what the method needs of them.
SiteHessians make_hessians(Device& device, const DecoderBlock& block,
                           const CellMethod* method);

// Sends hidden [windows * length, hidden_size] through the block up to its last
// input, a copy of some windows at a time, and shows `hook` every input.
void visit_block_inputs(Device& device, const DecoderBlock& block,
                        const RotaryTable& rotary,
                        MatrixView<const float> hidden, const InputHook& hook);

// Adds the second moments of all inputs.
void accumulate_hessians(Device& device, const DecoderBlock& block,
                         const RotaryTable& rotary,
                         MatrixView<const float> hidden,
                         SiteHessians& hessians);

using BlockLinears = std::array<QuantizedLinear, kLinearCount>;

struct SolvedBlock {
  BlockLinears linears;
  std::vector<LinearRecord> records;
};

// Quantizes the weights of the seven linears; `block` keeps its own. `repeat`
// numbers the draws of a random transform. Linears that share an input get one
// transform from their stacked weights if options.fuse. Throws NumericalError,
// Interrupted.
SolvedBlock solve_block(Device& device, const DecoderBlock& block,
                        std::int64_t layer, const SiteHessians& hessians,
                        const CellMethod& method, int repeat,
                        Progress& progress);

// The same for linear `linear` alone, with those that share its transform; the
// others stay empty and have no record.
SolvedBlock solve_linear_of_block(Device& device, const DecoderBlock& block,
                                  std::int64_t layer,
                                  const SiteHessians& hessians,
                                  const CellMethod& method, int repeat,
                                  int linear, Progress& progress);

// Sets the activations' decode constants from the largest |T x| over `hidden`
// (method.has_tensor_unit() only).
void set_activation_units(Device& device, const DecoderBlock& block,
                          const RotaryTable& rotary,
                          MatrixView<const float> hidden,
                          const CellMethod& method, BlockLinears& linears);

// Replaces the block's weights by the quantized ones.
void install(DecoderBlock& block, BlockLinears linears);

}  // namespace wush
