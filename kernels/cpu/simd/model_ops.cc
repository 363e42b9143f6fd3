// Compiled once for each instruction set; see kernels/cpu/model_ops.h.
#include "kernels/cpu/model_ops.h"

#include <cmath>
#include <cstdint>

#include "kernels/cpu/simd/exponential.h"
#include "kernels/cpu/simd/kernels.h"
#include "kernels/cpu/simd/vector.h"
#include "kernels/numerics/bfloat16.h"

namespace wush::kernels::WUSH_ISA {
namespace {

using V = Vector<float>;
using D = Vector<double>;
using Float = V::Float;

constexpr float kLowest = -3.402823466e38f;
constexpr float kInfinity = __builtin_huge_valf();

// The last, partial vector of a range: `count` values, then `fill`.
Float load_first(const float* x, std::int64_t count, float fill) {
  float values[V::kLanes];
  for (int i = 0; i < V::kLanes; ++i) values[i] = i < count ? x[i] : fill;
  return V::load(values);
}

void store_first(float* out, std::int64_t count, Float v) {
  float values[V::kLanes];
  V::store(values, v);
  for (std::int64_t i = 0; i < count; ++i) out[i] = values[i];
}

// Calls f(load, store) for each vector of [0, count): load(x) and
// load(x, fill) read, store(out, v) writes, as many lanes as there are.
template <class Function>
void for_each_vector(std::int64_t count, Function&& f) {
  std::int64_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) {
    f([i](const float* x, float = 0) { return V::load(x + i); },
      [i](float* out, Float v) { V::store(out + i, v); });
  }
  if (i < count) {
    f([i, count](const float* x,
                 float fill = 0) { return load_first(x + i, count - i, fill); },
      [i, count](float* out, Float v) { store_first(out + i, count - i, v); });
  }
}

float largest_lane(Float v) {
  float lanes[V::kLanes];
  V::store(lanes, v);
  float largest = lanes[0];
  for (int i = 1; i < V::kLanes; ++i) {
    largest = lanes[i] > largest ? lanes[i] : largest;
  }
  return largest;
}

// Largest of count > 0 values; NaN is passed over.
float maximum(const float* x, std::int64_t count) {
  Float largest = V::broadcast(-kInfinity);
  for_each_vector(count, [&](auto load, auto) {
    largest = V::max(load(x, -kInfinity), largest);
  });
  return largest_lane(largest);
}

// Sums of floats in double, lane by lane and then by halving.
class DoubleSum {
 public:
  void add(Float v) {
    D::Float wide[kParts];
    V::widen(v, wide);
    for (int i = 0; i < kParts; ++i) sum_[i] = D::add(sum_[i], wide[i]);
  }
  // Adds the product, formed in double.
  void add_product(Float a, Float b) {
    D::Float wide_a[kParts], wide_b[kParts];
    V::widen(a, wide_a);
    V::widen(b, wide_b);
    for (int i = 0; i < kParts; ++i) {
      sum_[i] = D::add(sum_[i], D::mul(wide_a[i], wide_b[i]));
    }
  }
  double total() const { return D::halving_sum(D::add(sum_[0], sum_[1])); }

 private:
  static constexpr int kParts = 2;
  D::Float sum_[kParts] = {D::broadcast(0), D::broadcast(0)};
};

void rms_norm(const float* x, const float* weight, float epsilon,
              std::int64_t rows, std::int64_t cols, std::int64_t x_stride,
              float* out, std::int64_t out_stride) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * x_stride;
    float* to = out + r * out_stride;
    DoubleSum squares;
    for_each_vector(cols, [&](auto load, auto) {
      const Float v = load(in);
      squares.add_product(v, v);
    });
    const double mean = squares.total() / static_cast<double>(cols);
    const Float factor = V::broadcast(
        static_cast<float>(1 / std::sqrt(mean + static_cast<double>(epsilon))));
    for_each_vector(cols, [&](auto load, auto store) {
      store(to, V::mul(V::mul(load(in), factor), load(weight)));
    });
  }
}

void rope(float* x, std::int64_t rows, std::int64_t heads,
          std::int64_t head_dim, std::int64_t stride, const float* cosines,
          const float* sines, const std::int32_t* positions) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* cosine = cosines + positions[r] * half;
    const float* sine = sines + positions[r] * half;
    for (std::int64_t h = 0; h < heads; ++h) {
      float* low = x + r * stride + h * head_dim;
      float* high = low + half;
      for_each_vector(half, [&](auto load, auto store) {
        const Float a = load(low), b = load(high);
        const Float c = load(cosine), s = load(sine);
        store(low, V::sub(V::mul(a, c), V::mul(b, s)));
        store(high, V::add(V::mul(b, c), V::mul(a, s)));
      });
    }
  }
}

void silu_multiply(const float* gate, const float* up, std::int64_t count,
                   float* out) {
  for_each_vector(count, [&](auto load, auto store) {
    const Float g = load(gate);
    const Float minus_g = V::sub(V::broadcast(-0.0f), g);
    const Float denominator = V::add(V::broadcast(1), vector_exp(minus_g));
    store(out, V::mul(V::div(g, denominator), load(up)));
  });
}

// Softmax of `scale` times count > 0 values, in place.
void softmax(float* x, std::int64_t count, float scale) {
  const Float factor = V::broadcast(scale);
  for_each_vector(
      count, [&](auto load, auto store) { store(x, V::mul(load(x), factor)); });
  const Float largest = V::broadcast(maximum(x, count));
  DoubleSum sum;
  for_each_vector(count, [&](auto load, auto store) {
    const Float e = vector_exp(V::sub(load(x, -kInfinity), largest));
    store(x, e);
    sum.add(e);
  });
  const Float inverse = V::broadcast(static_cast<float>(1 / sum.total()));
  for_each_vector(count, [&](auto load, auto store) {
    store(x, V::mul(load(x), inverse));
  });
}

void masked_softmax(float* scores, std::int64_t rows, std::int64_t cols,
                    std::int64_t stride, const std::int32_t* begin,
                    const std::int32_t* end, float scale) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * stride;
    const std::int64_t first = begin[r];
    const std::int64_t last = end[r] > first ? end[r] : first;
    if (last > first) softmax(row + first, last - first, scale);
    for (std::int64_t c = 0; c < first; ++c) row[c] = 0;
    for (std::int64_t c = last; c < cols; ++c) row[c] = 0;
  }
}

void add(const float* a, const float* b, std::int64_t count, float* out) {
  for_each_vector(count, [&](auto load, auto store) {
    store(out, V::add(load(a), load(b)));
  });
}

void add_bias(const float* x, const float* bias, std::int64_t rows,
              std::int64_t cols, std::int64_t x_stride, float* out,
              std::int64_t out_stride) {
  for (std::int64_t r = 0; r < rows; ++r) {
    add(x + r * x_stride, bias, cols, out + r * out_stride);
  }
}

void widen_bfloat16(const std::uint16_t* x, std::int64_t count, float* out) {
  std::int64_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) {
    V::store(out + i, V::load_bfloat16(x + i));
  }
  for (; i < count; ++i) out[i] = numerics::bfloat16_decode(x[i]);
}

void widen_float16(const std::uint16_t* x, std::int64_t count, float* out) {
  std::int64_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) {
    V::store(out + i, V::load_float16(x + i));
  }
  for (; i < count; ++i) out[i] = numerics::float16_decode(x[i]);
}

void exponential(const float* x, std::int64_t count, float* out) {
  for_each_vector(
      count, [&](auto load, auto store) { store(out, vector_exp(load(x))); });
}

// sum_i exp(x[i] - largest).
double sum_of_exponentials(const float* x, std::int64_t count, float largest) {
  const Float shift = V::broadcast(largest);
  DoubleSum sum;
  for_each_vector(count, [&](auto load, auto) {
    sum.add(vector_exp(V::sub(load(x, -kInfinity), shift)));
  });
  return sum.total();
}

double log_sum_exp(const float* x, std::int64_t count) {
  const float largest = maximum(x, count);
  return static_cast<double>(largest) +
         std::log(sum_of_exponentials(x, count, largest));
}

// Index of the first value equal to `value`.
std::int64_t first_index(const float* x, std::int64_t count, float value) {
  std::int64_t i = 0;
  while (i < count && x[i] != value) ++i;
  return i;
}

// KL = E_p[r - l] - log sum exp r + log sum exp l, with both sums taken
// relative to their largest logit.
Divergence divergence(const float* reference, const float* logits,
                      std::int64_t count) {
  const float reference_max = maximum(reference, count);
  const float max = maximum(logits, count);
  const Float reference_shift = V::broadcast(reference_max);
  const Float shift = V::broadcast(max);
  DoubleSum reference_sum, sum, weighted_reference, weighted;
  for_each_vector(count, [&](auto load, auto) {
    const Float r = V::sub(load(reference, kLowest), reference_shift);
    const Float l = V::sub(load(logits, kLowest), shift);
    const Float p = vector_exp(r);
    reference_sum.add(p);
    sum.add(vector_exp(l));
    weighted_reference.add_product(p, r);
    weighted.add_product(p, l);
  });
  const double total = reference_sum.total();
  const double kl = (weighted_reference.total() - weighted.total()) / total -
                    std::log(total) + std::log(sum.total());
  return {kl, first_index(reference, count, reference_max),
          first_index(logits, count, max)};
}

}  // namespace

const ModelKernels kModelKernels = {
    rms_norm,    rope,        silu_multiply,  masked_softmax,
    add,         add_bias,    widen_bfloat16, widen_float16,
    exponential, log_sum_exp, divergence};

}  // namespace wush::kernels::WUSH_ISA
