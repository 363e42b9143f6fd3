// Quantization on the CPU.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/block_transform.h"
#include "kernels/cpu/quantize.h"
#include "kernels/cpu/quantize_feedback.h"
#include "lib/device/cpu/cpu_device.h"
#include "lib/device/cpu/parallel.h"
#include "lib/support/error.h"

namespace wush {
namespace {

constexpr std::int64_t kRows = 64;

[[noreturn]] void throw_not_quantizable(const std::string& label,
                                        std::int64_t row, std::int64_t col,
                                        double value) {
  throw NumericalError(
      std::isfinite(value)
          ? fmt::format("{}: the scale of the group at [{}, {}] is beyond its "
                        "type",
                        label, row, col)
          : fmt::format("{}: expected finite values, found {} at [{}, {}]",
                        label, value, row, col));
}

// A range of rows of x, quantized without feedback into columns of `out`.
void round_rows(MatrixView<double> x, numerics::ScaleRule rule,
                const PackedView& out, std::int64_t first_col,
                std::int64_t first_row, std::int64_t rows, MatrixView<double> q,
                const std::string& label) {
  const auto& format = describe(out.format);
  const std::int64_t code_bytes = x.cols / 2;
  const std::int64_t scale_bytes = x.cols / format.group * format.scale_bytes();
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * code_bytes));
  std::vector<std::uint16_t> scales(
      static_cast<std::size_t>(rows * scale_bytes / 2 + 1));
  const std::int64_t bad =
      kernels::quantize_rows(out.format, rule, out.unit, x.row(first_row), rows,
                             x.cols, x.stride, codes.data(), scales.data());
  if (bad != kernels::kAllFinite) {
    const std::int64_t row = first_row + bad / x.cols;
    throw_not_quantizable(label, row, first_col + bad % x.cols,
                          x.row(row)[bad % x.cols]);
  }
  kernels::dequantize_rows(out.format, out.unit, codes.data(), scales.data(),
                           rows, x.cols, q.stride, q.row(first_row));
  const PackedView target = out.rows_from(first_row, rows);
  const auto* scale_data = reinterpret_cast<const std::uint8_t*>(scales.data());
  for (std::int64_t i = 0; i < rows; ++i) {
    std::memcpy(target.codes + (i * out.cols + first_col) / 2,
                codes.data() + i * code_bytes,
                static_cast<std::size_t>(code_bytes));
    std::memcpy(target.scales + (i * out.groups() + first_col / format.group) *
                                    format.scale_bytes(),
                scale_data + i * scale_bytes,
                static_cast<std::size_t>(scale_bytes));
  }
}

kernels::FeedbackOutput feedback_output(const PackedView& out,
                                        std::int64_t first_col,
                                        MatrixView<double> q) {
  const auto& format = describe(out.format);
  return {out.codes + first_col / 2,
          out.cols / 2,
          out.scales + first_col / format.group * format.scale_bytes(),
          out.groups(),
          q.data,
          q.stride};
}

// The columns of the block reversed, quantized in ascending order, and put
// back.
std::int64_t quantize_descending(MatrixView<double> x, const double* reversed,
                                 numerics::ScaleRule rule,
                                 const PackedView& out, std::int64_t first_col,
                                 MatrixView<double> q) {
  const auto& format = describe(out.format);
  const std::int64_t groups = x.cols / format.group;
  const auto size = static_cast<std::size_t>(x.size());
  std::vector<double> mirrored(size), values(size);
  std::vector<std::uint8_t> packed(size / 2), codes(size);
  std::vector<std::uint16_t> scales(static_cast<std::size_t>(x.rows * groups));
  for (std::int64_t i = 0; i < x.rows; ++i) {
    std::reverse_copy(x.row(i), x.row(i) + x.cols,
                      mirrored.begin() + i * x.cols);
  }
  const std::int64_t bad = kernels::quantize_with_feedback(
      out.format, rule, out.unit, mirrored.data(), x.rows, x.cols, x.cols,
      reversed,
      {packed.data(), x.cols / 2, scales.data(), groups, values.data(),
       x.cols});
  if (bad != kernels::kAllFinite) {
    return bad / x.cols * x.cols + (x.cols - 1 - bad % x.cols);
  }
  kernels::unpack_codes(packed.data(), x.size(), codes.data());
  const int bytes = format.scale_bytes();
  const auto* scale_data = reinterpret_cast<const std::uint8_t*>(scales.data());
  for (std::int64_t i = 0; i < x.rows; ++i) {
    std::reverse(codes.begin() + i * x.cols, codes.begin() + (i + 1) * x.cols);
    std::reverse_copy(values.begin() + i * x.cols,
                      values.begin() + (i + 1) * x.cols, q.row(i));
    kernels::pack_codes(codes.data() + i * x.cols, x.cols,
                        out.codes + (i * out.cols + first_col) / 2);
    for (std::int64_t g = 0; g < groups; ++g) {
      std::memcpy(out.scales +
                      (i * out.groups() + first_col / format.group + g) * bytes,
                  scale_data + (i * groups + groups - 1 - g) * bytes,
                  static_cast<std::size_t>(bytes));
    }
  }
  return kernels::kAllFinite;
}

}  // namespace

void CpuDevice::block_transform(MatrixView<const float> x,
                                const BlockTransformView& transform,
                                MatrixView<float> y) {
  cpu::parallel_ranges(
      threads_, x.rows, kRows, [&](std::int64_t begin, std::int64_t count) {
        kernels::block_transform(x.row(begin), count, x.cols / transform.width,
                                 transform.width, x.stride, transform.data,
                                 transform.shared, y.row(begin), y.stride);
      });
}

void CpuDevice::quantize(MatrixView<const float> x, const QuantizerSpec& spec,
                         PackedView out, const std::string& label) {
  WUSH_CHECK(out.format == spec.format && out.unit == spec.unit &&
                 out.rows == x.rows && out.cols == x.cols,
             "{}: quantizing [{}, {}] into [{}, {}]", label, x.rows, x.cols,
             out.rows, out.cols);
  cpu::parallel_ranges(threads_, x.rows, kRows,
                       [&](std::int64_t begin, std::int64_t count) {
                         const PackedView part = out.rows_from(begin, count);
                         const std::int64_t bad = kernels::quantize_rows(
                             spec.format, spec.rule, spec.unit, x.row(begin),
                             count, x.cols, x.stride, part.codes, part.scales);
                         if (bad != kernels::kAllFinite) {
                           const std::int64_t row = begin + bad / x.cols;
                           throw_not_quantizable(label, row, bad % x.cols,
                                                 x.row(row)[bad % x.cols]);
                         }
                       });
}

void CpuDevice::dequantize(const PackedView& x, MatrixView<float> y) {
  cpu::parallel_ranges(
      threads_, x.rows, kRows, [&](std::int64_t begin, std::int64_t count) {
        const PackedView part = x.rows_from(begin, count);
        kernels::dequantize_rows(x.format, x.unit, part.codes, part.scales,
                                 count, x.cols, y.stride, y.row(begin));
      });
}

void CpuDevice::quantized_linear(const PackedView& x, const PackedView& w,
                                 const float* bias, MatrixView<float> y) {
  Matrix<float> x_values(*this, x.rows, x.cols);
  Matrix<float> w_values(*this, w.rows, w.cols);
  dequantize(x, x_values.view());
  dequantize(w, w_values.view());
  linear(x_values.view(), w_values.view(), bias, y);
}

void CpuDevice::quantize_block(MatrixView<double> x,
                               MatrixView<const double> feedback,
                               ColumnOrder order, numerics::ScaleRule rule,
                               PackedView out, std::int64_t first_col,
                               MatrixView<double> q, const std::string& label) {
  const bool descending = order == ColumnOrder::kDescending;
  std::vector<double> lower;
  if (feedback.data != nullptr) {
    lower.assign(feedback.data, feedback.data + feedback.size());
    if (descending) std::reverse(lower.begin(), lower.end());
  }
  cpu::parallel_ranges(
      threads_, x.rows, kRows, [&](std::int64_t begin, std::int64_t count) {
        if (lower.empty()) {
          round_rows(x, rule, out, first_col, begin, count, q, label);
          return;
        }
        const auto rows = x.rows_from(begin, count);
        const auto values = q.rows_from(begin, count);
        const PackedView part = out.rows_from(begin, count);
        const std::int64_t bad =
            descending ? quantize_descending(rows, lower.data(), rule, part,
                                             first_col, values)
                       : kernels::quantize_with_feedback(
                             out.format, rule, out.unit, rows.data, count,
                             x.cols, x.stride, lower.data(),
                             feedback_output(part, first_col, values));
        if (bad != kernels::kAllFinite) {
          const std::int64_t row = bad / x.cols;
          throw_not_quantizable(label, begin + row, first_col + bad % x.cols,
                                rows.row(row)[bad % x.cols]);
        }
      });
}

}  // namespace wush
