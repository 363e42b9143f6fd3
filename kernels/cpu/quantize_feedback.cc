#include "kernels/cpu/quantize_feedback.h"

#include <vector>

#include "kernels/cpu/check_quantize.h"
#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels {

std::int64_t quantize_with_feedback(Format format, ScaleRule rule, float unit,
                                    const double* x, std::int64_t rows,
                                    std::int64_t width, std::int64_t x_stride,
                                    const double* lower,
                                    const FeedbackOutput& out) {
  check_quantize(format, unit, width);
  const FeedbackKernels& kernels = *best_kernels().feedback;
  std::vector<double> scratch(static_cast<std::size_t>(kernels.scratch(width)));
  return kernels.quantize(format, rule, unit, x, rows, width, x_stride, lower,
                          out, scratch.data());
}

}  // namespace wush::kernels
