#include "kernels/cpu/quantize.h"

#include "kernels/cpu/check_quantize.h"
#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels {

std::int64_t quantize_rows(Format format, ScaleRule rule, float unit,
                           const float* x, std::int64_t rows, std::int64_t cols,
                           std::int64_t stride, std::uint8_t* codes,
                           void* scales) {
  check_quantize(format, unit, cols);
  return best_kernels().quantize->quantize_float(format, rule, unit, x, rows,
                                                 cols, stride, codes, scales);
}

std::int64_t quantize_rows(Format format, ScaleRule rule, float unit,
                           const double* x, std::int64_t rows,
                           std::int64_t cols, std::int64_t stride,
                           std::uint8_t* codes, void* scales) {
  check_quantize(format, unit, cols);
  return best_kernels().quantize->quantize_double(format, rule, unit, x, rows,
                                                  cols, stride, codes, scales);
}

void dequantize_rows(Format format, float unit, const std::uint8_t* codes,
                     const void* scales, std::int64_t rows, std::int64_t cols,
                     std::int64_t stride, float* out) {
  check_quantize(format, unit, cols);
  best_kernels().quantize->dequantize_float(format, unit, codes, scales, rows,
                                            cols, stride, out);
}

void dequantize_rows(Format format, float unit, const std::uint8_t* codes,
                     const void* scales, std::int64_t rows, std::int64_t cols,
                     std::int64_t stride, double* out) {
  check_quantize(format, unit, cols);
  best_kernels().quantize->dequantize_double(format, unit, codes, scales, rows,
                                             cols, stride, out);
}

void pack_codes(const std::uint8_t* codes, std::int64_t count,
                std::uint8_t* packed) {
  for (std::int64_t i = 0; i < count / 2; ++i) {
    packed[i] = static_cast<std::uint8_t>(codes[2 * i] | codes[2 * i + 1] << 4);
  }
}

void unpack_codes(const std::uint8_t* packed, std::int64_t count,
                  std::uint8_t* codes) {
  for (std::int64_t i = 0; i < count / 2; ++i) {
    codes[2 * i] = packed[i] & 15;
    codes[2 * i + 1] = packed[i] >> 4;
  }
}

}  // namespace wush::kernels
