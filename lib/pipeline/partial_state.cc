#include "lib/pipeline/partial_state.h"

#include <nlohmann/json.hpp>

namespace wush {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LayerLoss, layer, linear, mse, signal,
                                   repeats)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LinearRecord, layer, linear, damping,
                                   attempts, dead_blocks, fallback,
                                   weight_error)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PartialHeader, next_block, layer_loss,
                                   linears, seconds)

std::string write_partial_header(const PartialHeader& header) {
  return nlohmann::json(header).dump();
}

PartialHeader read_partial_header(const std::string& text) {
  return nlohmann::json::parse(text).get<PartialHeader>();
}

}  // namespace wush
