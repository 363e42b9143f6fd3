// Peak memory of a cell, predicted from the pipeline's buffers.
#pragma once

#include <cstdint>

#include "lib/checkpoint/config.h"
#include "lib/experiment/cell_spec.h"
#include "lib/experiment/plan.h"

namespace wush {

// Peak resident bytes of a process that computes this cell on the CPU: hidden
// states of both texts, one block's weights, its Hessians and the largest of
// its working sets. Does not depend on the number of blocks.
std::int64_t predict_memory(const ModelConfig& model,
                            const WindowCounts& windows,
                            const Measures& measures, const CellSpec& cell);

}  // namespace wush
