// Forward pass on the CPU.
#include <cblas.h>

#include <cstring>
#include <vector>

#include "kernels/cpu/model_ops.h"
#include "lib/device/cpu/cpu_device.h"
#include "lib/device/cpu/parallel.h"
#include "lib/support/error.h"

namespace wush {
namespace {

// Rows of a piece of elementwise work.
constexpr std::int64_t kRows = 64;
// Tile of a matrix product. BLAS packs the tile's operands anew each time,
// about (1/512 + 1/1024) of the tile's arithmetic in memory accesses.
constexpr std::int64_t kLinearRows = 512;
constexpr std::int64_t kLinearCols = 1024;
// Queries of one head that are scored together: the work on masked keys is at
// most this many columns a row.
constexpr std::int64_t kQueries = 64;

}  // namespace

void CpuDevice::gather_rows(MatrixView<const float> table,
                            std::span<const std::int32_t> ids,
                            MatrixView<float> y) {
  const auto bytes = static_cast<std::size_t>(y.cols) * sizeof(float);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    WUSH_CHECK(ids[i] >= 0 && ids[i] < table.rows, "id {} of {}", ids[i],
               table.rows);
    std::memcpy(y.row(static_cast<std::int64_t>(i)), table.row(ids[i]), bytes);
  }
}

void CpuDevice::rms_norm(MatrixView<const float> x, const float* weight,
                         double epsilon, MatrixView<float> y) {
  cpu::parallel_ranges(
      threads_, x.rows, kRows, [&](std::int64_t begin, std::int64_t count) {
        kernels::rms_norm(x.row(begin), weight, static_cast<float>(epsilon),
                          count, x.cols, x.stride, y.row(begin), y.stride);
      });
}

void CpuDevice::linear(MatrixView<const float> x, MatrixView<const float> w,
                       const float* bias, MatrixView<float> y) {
  WUSH_CHECK(x.cols == w.cols && y.rows == x.rows && y.cols == w.rows,
             "linear of [{}, {}] by [{}, {}] into [{}, {}]", x.rows, x.cols,
             w.rows, w.cols, y.rows, y.cols);
  cpu::parallel_tiles(threads_, y.rows, y.cols, kLinearRows, kLinearCols,
                      [&](std::int64_t row, std::int64_t rows, std::int64_t col,
                          std::int64_t cols) {
                        float* out = y.row(row) + col;
                        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans,
                                    static_cast<blasint>(rows),
                                    static_cast<blasint>(cols),
                                    static_cast<blasint>(x.cols), 1.0f,
                                    x.row(row), static_cast<blasint>(x.stride),
                                    w.row(col), static_cast<blasint>(w.stride),
                                    0.0f, out, static_cast<blasint>(y.stride));
                        if (bias != nullptr) {
                          kernels::add_bias(out, bias + col, rows, cols,
                                            y.stride, out, y.stride);
                        }
                      });
}

void CpuDevice::rope(MatrixView<float> x, std::int64_t heads,
                     MatrixView<const float> cosines,
                     MatrixView<const float> sines) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(x.rows));
  for (std::int64_t i = 0; i < x.rows; ++i) {
    positions[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>(i % cosines.rows);
  }
  cpu::parallel_ranges(
      threads_, x.rows, kRows, [&](std::int64_t begin, std::int64_t count) {
        kernels::rope(x.row(begin), count, heads, x.cols / heads, x.stride,
                      cosines.data, sines.data, positions.data() + begin);
      });
}

void CpuDevice::attention(MatrixView<const float> q, MatrixView<const float> k,
                          MatrixView<const float> v,
                          const AttentionShape& shape, MatrixView<float> y) {
  const std::int64_t windows = q.rows / shape.length;
  const std::int64_t dim = shape.head_dim;
  const std::int64_t shared = shape.heads / shape.kv_heads;
  const float scale =
      static_cast<float>(1 / std::sqrt(static_cast<double>(dim)));
  cpu::parallel_for(threads_, windows * shape.heads, [&](std::int64_t piece) {
    const std::int64_t first = piece / shape.heads * shape.length;
    const std::int64_t head = piece % shape.heads;
    const auto keys =
        k.rows_from(first, shape.length).cols_from(head / shared * dim, dim);
    const auto values =
        v.rows_from(first, shape.length).cols_from(head / shared * dim, dim);
    std::vector<float> scores(
        static_cast<std::size_t>(kQueries * shape.length));
    std::vector<std::int32_t> begins(kQueries), ends(kQueries);
    for (std::int64_t query = 0; query < shape.length; query += kQueries) {
      const std::int64_t count = std::min(kQueries, shape.length - query);
      const std::int64_t end = query + count;
      const std::int64_t begin =
          shape.sliding_window > 0
              ? std::max<std::int64_t>(0, query - shape.sliding_window + 1)
              : 0;
      const std::int64_t span = end - begin;
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t position = query + i;
        const std::int64_t oldest =
            shape.sliding_window > 0
                ? std::max<std::int64_t>(0, position - shape.sliding_window + 1)
                : 0;
        begins[static_cast<std::size_t>(i)] =
            static_cast<std::int32_t>(oldest - begin);
        ends[static_cast<std::size_t>(i)] =
            static_cast<std::int32_t>(position + 1 - begin);
      }
      cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(count),
          static_cast<blasint>(span), static_cast<blasint>(dim), 1.0f,
          q.row(first + query) + head * dim, static_cast<blasint>(q.stride),
          keys.row(begin), static_cast<blasint>(keys.stride), 0.0f,
          scores.data(), static_cast<blasint>(span));
      kernels::masked_softmax(scores.data(), count, span, span, begins.data(),
                              ends.data(), scale);
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans,
                  static_cast<blasint>(count), static_cast<blasint>(dim),
                  static_cast<blasint>(span), 1.0f, scores.data(),
                  static_cast<blasint>(span), values.row(begin),
                  static_cast<blasint>(values.stride), 0.0f,
                  y.row(first + query) + head * dim,
                  static_cast<blasint>(y.stride));
    }
  });
}

void CpuDevice::silu_multiply(MatrixView<const float> up,
                              MatrixView<float> gate) {
  cpu::parallel_ranges(threads_, gate.rows, kRows,
                       [&](std::int64_t begin, std::int64_t count) {
                         for (std::int64_t i = begin; i < begin + count; ++i) {
                           kernels::silu_multiply(gate.row(i), up.row(i),
                                                  gate.cols, gate.row(i));
                         }
                       });
}

void CpuDevice::add(MatrixView<const float> x, MatrixView<float> y) {
  cpu::parallel_ranges(threads_, y.rows, kRows,
                       [&](std::int64_t begin, std::int64_t count) {
                         for (std::int64_t i = begin; i < begin + count; ++i) {
                           kernels::add(y.row(i), x.row(i), y.cols, y.row(i));
                         }
                       });
}

}  // namespace wush
