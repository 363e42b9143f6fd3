// One linear of a decoder block, as it is or quantized.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/device/device.h"
#include "lib/transform/fitted_transform.h"

namespace wush {

// The tensors of a block that linears read.
enum class InputSite { kAttention, kOutput, kMlp, kDown };
inline constexpr int kInputSites = 4;

struct LinearInfo {
  std::string_view name;    // as in the paper's tables
  std::string_view tensor;  // inside model.layers.N
  InputSite site;
};

inline constexpr std::array<LinearInfo, 7> kLinears = {{
    {"q_proj", "self_attn.q_proj", InputSite::kAttention},
    {"k_proj", "self_attn.k_proj", InputSite::kAttention},
    {"v_proj", "self_attn.v_proj", InputSite::kAttention},
    {"o_proj", "self_attn.o_proj", InputSite::kOutput},
    {"gate_proj", "mlp.gate_proj", InputSite::kMlp},
    {"up_proj", "mlp.up_proj", InputSite::kMlp},
    {"down_proj", "mlp.down_proj", InputSite::kDown},
}};
inline constexpr int kLinearCount = static_cast<int>(kLinears.size());

// What a quantized linear holds: Q(W T^-1), T, and how its input is quantized.
struct QuantizedLinear {
  PackedMatrix weights;
  std::shared_ptr<const FittedTransform>
      transform;  // may serve several linears
  QuantizerSpec activation;
};

// y = Q(W T^-1) Q(T x) (+ bias): x [rows, in], bias [out] or null, y [rows,
// out]. Inputs are quantized as they come, after T x in float32. `label` names
// the linear in errors.
void quantized_forward(Device& device, const QuantizedLinear& linear,
                       MatrixView<const float> x, const float* bias,
                       const std::string& label, MatrixView<float> y);

// Largest |T x|: what a static activation scale is made of.
float largest_transformed(Device& device, const FittedTransform& transform,
                          MatrixView<const float> x);

struct LinearLayer {
  Matrix<float> weight;  // [out, in]; released once quantized
  Matrix<float> bias;    // [1, out], empty where the model has none
  std::optional<QuantizedLinear> quantized;
  std::int64_t out = 0;
  std::int64_t in = 0;
  std::string label;  // "layer 3, q_proj"

  const float* bias_data() const {
    return bias.empty() ? nullptr : bias.data();
  }
  void forward(Device& device, MatrixView<const float> x,
               MatrixView<float> y) const;
};

}  // namespace wush
