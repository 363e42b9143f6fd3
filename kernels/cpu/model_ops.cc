#include "kernels/cpu/model_ops.h"

#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels {

void rms_norm(const float* x, const float* weight, float epsilon,
              std::int64_t rows, std::int64_t cols, std::int64_t x_stride,
              float* out, std::int64_t out_stride) {
  best_kernels().model->rms_norm(x, weight, epsilon, rows, cols, x_stride, out,
                                 out_stride);
}

void rope(float* x, std::int64_t rows, std::int64_t heads,
          std::int64_t head_dim, std::int64_t stride, const float* cosines,
          const float* sines, const std::int32_t* positions) {
  best_kernels().model->rope(x, rows, heads, head_dim, stride, cosines, sines,
                             positions);
}

void silu_multiply(const float* gate, const float* up, std::int64_t count,
                   float* out) {
  best_kernels().model->silu_multiply(gate, up, count, out);
}

void masked_softmax(float* scores, std::int64_t rows, std::int64_t cols,
                    std::int64_t stride, const std::int32_t* begin,
                    const std::int32_t* end, float scale) {
  best_kernels().model->masked_softmax(scores, rows, cols, stride, begin, end,
                                       scale);
}

void add(const float* a, const float* b, std::int64_t count, float* out) {
  best_kernels().model->add(a, b, count, out);
}

void add_bias(const float* x, const float* bias, std::int64_t rows,
              std::int64_t cols, std::int64_t x_stride, float* out,
              std::int64_t out_stride) {
  best_kernels().model->add_bias(x, bias, rows, cols, x_stride, out,
                                 out_stride);
}

void widen_bfloat16(const std::uint16_t* x, std::int64_t count, float* out) {
  best_kernels().model->widen_bfloat16(x, count, out);
}

void widen_float16(const std::uint16_t* x, std::int64_t count, float* out) {
  best_kernels().model->widen_float16(x, count, out);
}

void exponential(const float* x, std::int64_t count, float* out) {
  best_kernels().model->exponential(x, count, out);
}

double log_sum_exp(const float* x, std::int64_t count) {
  return best_kernels().model->log_sum_exp(x, count);
}

double negative_log_likelihood(const float* logits, std::int64_t count,
                               std::int64_t target) {
  return log_sum_exp(logits, count) - static_cast<double>(logits[target]);
}

Divergence divergence(const float* reference, const float* logits,
                      std::int64_t count) {
  return best_kernels().model->divergence(reference, logits, count);
}

}  // namespace wush::kernels
