// The operations that the model, the solvers and the metrics are written
// against, once for every device. A device computes on its own memory; the
// calls of one Device are made from one host thread and finish in order.
//
// Determinism: every operation gives the same bits for any number of threads.
// Those that map rows to rows (all but the gram matrix and the sums) also do so
// for any way the caller splits the rows over calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/numerics/format.h"
#include "lib/device/matrix.h"

namespace wush {

// Causal self-attention over windows of `length` tokens that lie one after
// another in the rows of q, k, v.
struct AttentionShape {
  std::int64_t length = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads =
      0;  // divides heads; head h reads kv head h / (heads / kv_heads)
  std::int64_t head_dim = 0;
  std::int64_t sliding_window =
      0;  // tokens a query sees, itself included; 0 = all
};

struct SquaredSums {
  double error = 0;   // sum of (y - reference)^2
  double signal = 0;  // sum of reference^2
};

// What the quantizer of a tensor is told beside its format.
struct QuantizerSpec {
  numerics::Format format = numerics::Format::kMxfp4;
  numerics::ScaleRule rule = numerics::ScaleRule::kAbsMax;
  float unit = 0;  // decode constant of the tensor; 0: the format's own
};

enum class Transpose { kNo, kYes };

// Order in which columns are quantized with feedback.
enum class ColumnOrder { kAscending, kDescending };

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;         // as given by --device
  virtual std::string description() const = 0;  // processor and libraries

  // ---- Memory. allocate() throws OutOfMemoryError. ----
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* data, std::size_t bytes) noexcept = 0;
  // Rows of `row_bytes` bytes, consecutive rows a pitch apart on either side.
  virtual void upload(const void* host, std::size_t host_pitch, void* device,
                      std::size_t device_pitch, std::size_t row_bytes,
                      std::int64_t rows) = 0;
  virtual void download(const void* device, std::size_t device_pitch,
                        void* host, std::size_t host_pitch,
                        std::size_t row_bytes, std::int64_t rows) = 0;
  virtual void copy(const void* from, std::size_t from_pitch, void* to,
                    std::size_t to_pitch, std::size_t row_bytes,
                    std::int64_t rows) = 0;
  virtual void fill_zero(void* device, std::size_t bytes) = 0;

  // ---- Model, float32. ----
  // y[i] = table[ids[i]]; ids on the host, in [0, table.rows).
  virtual void gather_rows(MatrixView<const float> table,
                           std::span<const std::int32_t> ids,
                           MatrixView<float> y) = 0;
  // y = x / sqrt(mean(x^2) + epsilon) * weight along each row; y may be x.
  virtual void rms_norm(MatrixView<const float> x, const float* weight,
                        double epsilon, MatrixView<float> y) = 0;
  // y = x w^T (+ bias): x [rows, in], w [out, in], bias [out] or null.
  virtual void linear(MatrixView<const float> x, MatrixView<const float> w,
                      const float* bias, MatrixView<float> y) = 0;
  // Rotates each head's channel pairs (i, i + head_dim/2) of x [rows, heads *
  // head_dim] by the angle of position row % length; cosines and sines are
  // [length, head_dim / 2].
  virtual void rope(MatrixView<float> x, std::int64_t heads,
                    MatrixView<const float> cosines,
                    MatrixView<const float> sines) = 0;
  // softmax(q k^T / sqrt(head_dim)) v; rows is a multiple of shape.length.
  virtual void attention(MatrixView<const float> q, MatrixView<const float> k,
                         MatrixView<const float> v, const AttentionShape& shape,
                         MatrixView<float> y) = 0;
  virtual void silu_multiply(
      MatrixView<const float> up,
      MatrixView<float> gate) = 0;  // gate = silu(gate) up
  virtual void add(MatrixView<const float> x,
                   MatrixView<float> y) = 0;  // y += x

  // ---- Quantization. `label` names the tensor in errors. ----
  virtual void block_transform(MatrixView<const float> x,
                               const BlockTransformView& transform,
                               MatrixView<float> y) = 0;
  // Throws NumericalError at a value or scale that is not finite.
  virtual void quantize(MatrixView<const float> x, const QuantizerSpec& spec,
                        PackedView out, const std::string& label) = 0;
  virtual void dequantize(const PackedView& x, MatrixView<float> y) = 0;
  // y = x w^T (+ bias) of quantized operands, float32 accumulation.
  virtual void quantized_linear(const PackedView& x, const PackedView& w,
                                const float* bias, MatrixView<float> y) = 0;
  // Largest |x[i, j]|; 0 for an empty matrix. x must be finite.
  virtual float largest_magnitude(MatrixView<const float> x) = 0;
  virtual double largest_magnitude(MatrixView<const double> x) = 0;

  // ---- Reductions. Results on the host, in double. ----
  virtual SquaredSums squared_sums(MatrixView<const float> y,
                                   MatrixView<const float> reference) = 0;
  // nll[i] = -log softmax(logits[i])[targets[i]]; targets on the host.
  virtual void cross_entropy(MatrixView<const float> logits,
                             std::span<const std::int32_t> targets,
                             std::span<double> nll) = 0;
  // Per row KL(softmax(reference) || softmax(logits)) in nats, and 1 where the
  // first largest logits are at the same index, else 0.
  virtual void divergence(MatrixView<const float> reference,
                          MatrixView<const float> logits, std::span<double> kl,
                          std::span<double> agreement) = 0;
  // Index (row * cols + col) of the first value that is not finite, or -1.
  virtual std::int64_t find_non_finite(MatrixView<const float> x) = 0;

  // ---- Solvers, double. ----
  virtual void widen(MatrixView<const float> x, MatrixView<double> y) = 0;
  virtual double sum_of_squares(MatrixView<const double> x) = 0;
  // c = alpha op(a) op(b) + beta c
  virtual void gemm(double alpha, Transpose op_a, MatrixView<const double> a,
                    Transpose op_b, MatrixView<const double> b, double beta,
                    MatrixView<double> c) = 0;
  // Adds x^T x: the lower half of sigma [in, in] when block == in, else the
  // diagonal blocks of `block` channels, stored one under another [in, block].
  virtual void accumulate_gram(MatrixView<const float> x, std::int64_t block,
                               MatrixView<double> sigma) = 0;
  // Lower Cholesky factor of the lower half of a, in place, the upper half set
  // to zero. False when a is not positive definite (a is then undefined).
  virtual bool cholesky(MatrixView<double> a) = 0;
  // Mirrors the square a about its antidiagonal, a[i, j] <-> a[n-1-j, n-1-i]:
  // lower triangles stay lower.
  virtual void flip(MatrixView<double> a) = 0;
  // Quantizes x [rows, width], the columns that begin at `first_col` of `out`.
  // With feedback (unit-diagonal lower-triangular [width, width]) each column's
  // error e = q - x is carried on: x_c' += e * feedback[c', c] for the columns
  // c' still to come; a group's scale is made from the values its columns have
  // when the first of them is reached. Without (data null) columns are rounded
  // as they are. Writes codes, scales and the decoded values q [rows, width];
  // x is used up. For kDescending the last column is the first to be quantized
  // and feedback is upper-triangular.
  virtual void quantize_block(MatrixView<double> x,
                              MatrixView<const double> feedback,
                              ColumnOrder order, numerics::ScaleRule rule,
                              PackedView out, std::int64_t first_col,
                              MatrixView<double> q,
                              const std::string& label) = 0;

  std::size_t bytes_in_use() const { return bytes_in_use_; }
  std::size_t peak_bytes() const { return peak_bytes_; }

 protected:
  void count_allocation(std::size_t bytes) {
    bytes_in_use_ += bytes;
    if (bytes_in_use_ > peak_bytes_) peak_bytes_ = bytes_in_use_;
  }
  void count_release(std::size_t bytes) { bytes_in_use_ -= bytes; }

 private:
  std::size_t bytes_in_use_ = 0;
  std::size_t peak_bytes_ = 0;
};

// "cpu" or "cuda:N". Throws DeviceError for a device that is not there.
// threads: of the CPU device; 0 = all processors this process may use.
std::unique_ptr<Device> make_device(const std::string& name, int threads);

// Copies between views, and between a view and dense host memory.
template <class T>
void copy(Device& device, MatrixView<const T> from, MatrixView<T> to) {
  device.copy(from.data, static_cast<std::size_t>(from.stride) * sizeof(T),
              to.data, static_cast<std::size_t>(to.stride) * sizeof(T),
              static_cast<std::size_t>(from.cols) * sizeof(T), from.rows);
}

template <class T>
std::vector<std::remove_const_t<T>> to_host(Device& device, MatrixView<T> x) {
  std::vector<std::remove_const_t<T>> host(static_cast<std::size_t>(x.size()));
  const std::size_t row = static_cast<std::size_t>(x.cols) * sizeof(T);
  device.download(x.data, static_cast<std::size_t>(x.stride) * sizeof(T),
                  host.data(), row, row, x.rows);
  return host;
}

template <class T>
void to_device(Device& device, const T* host, MatrixView<T> x) {
  const std::size_t row = static_cast<std::size_t>(x.cols) * sizeof(T);
  device.upload(host, row, x.data,
                static_cast<std::size_t>(x.stride) * sizeof(T), row, x.rows);
}

}  // namespace wush
