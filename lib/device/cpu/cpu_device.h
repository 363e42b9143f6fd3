// The CPU: OpenBLAS for matrix products, kernels/cpu for the rest. Work is cut
// into pieces of fixed size, each computed by one thread (BLAS itself runs with
// one), so that results do not depend on the number of threads.
#pragma once

#include <string>

#include "lib/device/device.h"

namespace wush {

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(int threads);  // 0: all processors of this process

  std::string name() const override { return "cpu"; }
  std::string description() const override;
  int threads() const { return threads_; }

  void* allocate(std::size_t bytes) override;
  void release(void* data, std::size_t bytes) noexcept override;
  void upload(const void* host, std::size_t host_pitch, void* device,
              std::size_t device_pitch, std::size_t row_bytes,
              std::int64_t rows) override;
  void download(const void* device, std::size_t device_pitch, void* host,
                std::size_t host_pitch, std::size_t row_bytes,
                std::int64_t rows) override;
  void copy(const void* from, std::size_t from_pitch, void* to,
            std::size_t to_pitch, std::size_t row_bytes,
            std::int64_t rows) override;
  void fill_zero(void* device, std::size_t bytes) override;

  void gather_rows(MatrixView<const float> table,
                   std::span<const std::int32_t> ids,
                   MatrixView<float> y) override;
  void rms_norm(MatrixView<const float> x, const float* weight, double epsilon,
                MatrixView<float> y) override;
  void linear(MatrixView<const float> x, MatrixView<const float> w,
              const float* bias, MatrixView<float> y) override;
  void rope(MatrixView<float> x, std::int64_t heads,
            MatrixView<const float> cosines,
            MatrixView<const float> sines) override;
  void attention(MatrixView<const float> q, MatrixView<const float> k,
                 MatrixView<const float> v, const AttentionShape& shape,
                 MatrixView<float> y) override;
  void silu_multiply(MatrixView<const float> up,
                     MatrixView<float> gate) override;
  void add(MatrixView<const float> x, MatrixView<float> y) override;

  void block_transform(MatrixView<const float> x,
                       const BlockTransformView& transform,
                       MatrixView<float> y) override;
  void quantize(MatrixView<const float> x, const QuantizerSpec& spec,
                PackedView out, const std::string& label) override;
  void dequantize(const PackedView& x, MatrixView<float> y) override;
  void quantized_linear(const PackedView& x, const PackedView& w,
                        const float* bias, MatrixView<float> y) override;
  float largest_magnitude(MatrixView<const float> x) override;
  double largest_magnitude(MatrixView<const double> x) override;

  SquaredSums squared_sums(MatrixView<const float> y,
                           MatrixView<const float> reference) override;
  void cross_entropy(MatrixView<const float> logits,
                     std::span<const std::int32_t> targets,
                     std::span<double> nll) override;
  void divergence(MatrixView<const float> reference,
                  MatrixView<const float> logits, std::span<double> kl,
                  std::span<double> agreement) override;
  std::int64_t find_non_finite(MatrixView<const float> x) override;

  void widen(MatrixView<const float> x, MatrixView<double> y) override;
  double sum_of_squares(MatrixView<const double> x) override;
  void gemm(double alpha, Transpose op_a, MatrixView<const double> a,
            Transpose op_b, MatrixView<const double> b, double beta,
            MatrixView<double> c) override;
  void accumulate_gram(MatrixView<const float> x, std::int64_t block,
                       MatrixView<double> sigma) override;
  bool cholesky(MatrixView<double> a) override;
  void flip(MatrixView<double> a) override;
  void quantize_block(MatrixView<double> x, MatrixView<const double> feedback,
                      ColumnOrder order, numerics::ScaleRule rule,
                      PackedView out, std::int64_t first_col,
                      MatrixView<double> q, const std::string& label) override;

 private:
  int threads_;
};

}  // namespace wush
