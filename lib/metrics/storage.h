// What a quantized checkpoint takes on disk, from its configuration alone
// (paper table 7: the transforms' share of the checkpoint).
#pragma once

#include <cstdint>

#include "kernels/numerics/format.h"
#include "lib/checkpoint/config.h"
#include "lib/quantize/options.h"

namespace wush {

struct StorageOptions {
  int transform_block =
      0;  // channels a transform spans; 0 = the format's group
  TransformType transform_dtype = TransformType::kBfloat16;
  bool fuse = false;  // one T for q, k, v and one for gate, up
};

// Bytes of each part of a checkpoint. Quantized are the seven linears of every
// decoder block; embeddings, lm_head (where it is not tied), norms and biases
// stay in 16 bits.
struct CheckpointStorage {
  std::int64_t quantized_weights = 0;  // number of weights, not bytes
  std::int64_t code_bytes = 0;         // 4 bits a weight
  std::int64_t scale_bytes = 0;        // one scale a group
  std::int64_t transform_bytes = 0;    // [in / K, K, K] of every linear
  std::int64_t unquantized_bytes = 0;

  // Without the transforms.
  std::int64_t checkpoint_bytes() const {
    return code_bytes + scale_bytes + unquantized_bytes;
  }
  // Bits per quantized weight, scales included, transforms not.
  double bits_per_weight() const;
  // The same with the stored transforms.
  double bits_per_weight_with_transforms() const;
  // Stored transforms in percent of the checkpoint without them (table 7).
  double transform_percent() const;
};

// Storage of a model whose linears are quantized with `format` and that stores
// its own transform for every block of every linear (wus, wush, kbbq, random;
// identity and hadamard store none). Throws InputError, naming the linear, when
// the group or the transform's block does not divide an input width.
CheckpointStorage checkpoint_storage(const ModelConfig& config,
                                     numerics::Format format,
                                     const StorageOptions& options);

}  // namespace wush
