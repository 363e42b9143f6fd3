// Every option of a cell that can change its numbers, beside its format,
// transform and solver.
#pragma once

#include <cstdint>

#include "kernels/numerics/format.h"

namespace wush {

enum class MomentsKind { kMarginal, kConditional };  // covariance of a block
enum class TransformType { kFloat32, kBfloat16 };    // T as stored
enum class GlobalScale { kFixed, kAmax };  // formats with a tensor unit

struct QuantizationOptions {
  double damping = 0.01;  // relative: A + damping * mean(diag A) * I
  MomentsKind moments = MomentsKind::kMarginal;
  int transform_block =
      0;  // channels a transform spans; 0 = the format's group
  bool transform_block_fallback =
      false;  // use the group where K does not divide
  numerics::ScaleRule weight_scale = numerics::ScaleRule::kAbsMax;
  numerics::ScaleRule activation_scale = numerics::ScaleRule::kAbsMax;
  GlobalScale global_scale = GlobalScale::kFixed;
  TransformType transform_dtype = TransformType::kFloat32;
  bool fuse = false;             // one T for q, k, v and one for gate, up
  bool solver_fallback = false;  // rtn where every damping fails, recorded
  std::uint64_t seed = 0;
};

}  // namespace wush
