#include "kernels/cpu/fp4_matmul.h"

#include "kernels/cpu/check_quantize.h"
#include "kernels/numerics/group_quantizer.h"

namespace wush::kernels {
namespace {

// Twice the element value of a code, always an integer.
template <Format F>
int doubled_element(int code) {
  if constexpr (numerics::describe(F).element == numerics::Element::kE2m1) {
    return numerics::e2m1_doubled(static_cast<std::uint8_t>(code));
  } else {
    return 2 * ((code ^ 8) - 8) + 1;
  }
}

template <Format F>
float scale_at(const QuantizedMatrix& matrix, std::int64_t index) {
  const bool wide = numerics::describe(F).scale_bytes() == 2;
  const std::uint16_t bits =
      wide ? static_cast<const std::uint16_t*>(matrix.scales)[index]
           : static_cast<const std::uint8_t*>(matrix.scales)[index];
  return numerics::GroupQuantizer<F, float>::decode_scale(bits);
}

template <Format F>
double unit_of(const QuantizedMatrix& matrix) {
  return numerics::resolve_unit<F, double>(matrix.unit).value;
}

template <Format F>
float dot(const QuantizedMatrix& a, std::int64_t m, const QuantizedMatrix& b,
          std::int64_t n, std::int64_t cols) {
  constexpr int kGroup = numerics::describe(F).group;
  float sum = 0;
  for (std::int64_t g = 0; g < cols / kGroup; ++g) {
    const std::uint8_t* x = a.codes + (m * cols + g * kGroup) / 2;
    const std::uint8_t* w = b.codes + (n * cols + g * kGroup) / 2;
    int exact = 0;
    for (int i = 0; i < kGroup / 2; ++i) {
      exact += doubled_element<F>(x[i] & 15) * doubled_element<F>(w[i] & 15);
      exact += doubled_element<F>(x[i] >> 4) * doubled_element<F>(w[i] >> 4);
    }
    const float scale = scale_at<F>(a, m * (cols / kGroup) + g) *
                        scale_at<F>(b, n * (cols / kGroup) + g);
    sum += static_cast<float>(exact) * scale;
  }
  return sum;
}

}  // namespace

void fp4_matmul(Format format, std::int64_t cols, const QuantizedMatrix& a,
                const QuantizedMatrix& b, float* y, std::int64_t y_stride) {
  check_quantize(format, a.unit, cols);
  check_quantize(format, b.unit, cols);
  numerics::dispatch_format(format, [&]<Format F>() {
    const auto unit = static_cast<float>(unit_of<F>(a) * unit_of<F>(b) / 4);
    for (std::int64_t m = 0; m < a.rows; ++m) {
      for (std::int64_t n = 0; n < b.rows; ++n) {
        y[m * y_stride + n] = dot<F>(a, m, b, n, cols) * unit;
      }
    }
  });
}

}  // namespace wush::kernels
