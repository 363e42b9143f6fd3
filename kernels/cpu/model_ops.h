// Float32 operations of a transformer's forward pass, over ranges of rows.
//
// Single-threaded; rows are independent and every row is computed in an order
// that depends on its length alone, so a caller may split the rows as it likes.
// Matrices are row-major; strides are in elements and lead to the next row.
// Unless said otherwise an output may be the input, but not overlap it partly.
#pragma once

#include <cstdint>

namespace wush::kernels {

// out[r, c] = x[r, c] / sqrt(mean_c x[r, c]^2 + epsilon) * weight[c]
// (Zhang and Sennrich 2019). weight is [cols].
void rms_norm(const float* x, const float* weight, float epsilon,
              std::int64_t rows, std::int64_t cols, std::int64_t x_stride,
              float* out, std::int64_t out_stride);

// Rotary position embedding in place (Su et al. 2021, in the layout of Hugging
// Face's Llama): in each of `heads` heads of x[r], channel i turns with channel
// i + head_dim / 2 by the angle whose cosine and sine are
// cosines[positions[r], i] and sines[positions[r], i], tables of
// head_dim / 2 columns. Row r of x holds heads * head_dim values.
void rope(float* x, std::int64_t rows, std::int64_t heads,
          std::int64_t head_dim, std::int64_t stride, const float* cosines,
          const float* sines, const std::int32_t* positions);

// out[i] = gate[i] / (1 + exp(-gate[i])) * up[i] for i < count.
void silu_multiply(const float* gate, const float* up, std::int64_t count,
                   float* out);

// Softmax in place over the keys [begin[r], end[r]) of row r, after multiplying
// by `scale`; every other key of the row gets 0, and so does a whole row
// without keys. 0 <= begin[r], end[r] <= cols.
void masked_softmax(float* scores, std::int64_t rows, std::int64_t cols,
                    std::int64_t stride, const std::int32_t* begin,
                    const std::int32_t* end, float scale);

// out[i] = a[i] + b[i] for i < count.
void add(const float* a, const float* b, std::int64_t count, float* out);

// out[r, c] = x[r, c] + bias[c].
void add_bias(const float* x, const float* bias, std::int64_t rows,
              std::int64_t cols, std::int64_t x_stride, float* out,
              std::int64_t out_stride);

// Exact widening of 16-bit floats; the ranges must not overlap.
void widen_bfloat16(const std::uint16_t* x, std::int64_t count, float* out);
void widen_float16(const std::uint16_t* x, std::int64_t count, float* out);

// out[i] = exp(x[i]), within 2 units in the last place, subnormal results
// included; overflows to infinity, NaN stays NaN.
void exponential(const float* x, std::int64_t count, float* out);

// log(sum_i exp(x[i])) for i < count, count > 0, accumulated in double.
double log_sum_exp(const float* x, std::int64_t count);

// Cross entropy -log softmax(logits)[target] in nats.
double negative_log_likelihood(const float* logits, std::int64_t count,
                               std::int64_t target);

struct Divergence {
  double kl;                      // KL(softmax(reference) || softmax(logits))
  std::int64_t reference_argmax;  // the first of equals
  std::int64_t argmax;
};

// Kullback-Leibler divergence in nats, accumulated in double.
Divergence divergence(const float* reference, const float* logits,
                      std::int64_t count);

}  // namespace wush::kernels
