// Reductions and float64 linear algebra on the CPU.
#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/cpu/model_ops.h"
#include "lib/device/cpu/cpu_device.h"
#include "lib/device/cpu/parallel.h"
#include "lib/support/error.h"

namespace wush {
namespace {

constexpr std::int64_t kRows = 64;
// Tile of the matrices in double: three of them fill about 1.5 MB.
constexpr std::int64_t kTile = 256;
// Tokens whose products are summed in float32 before they join the double sum:
// the error of a chunk is about sqrt(512) * 2^-24 relative.
constexpr std::int64_t kGramTokens = 512;

CBLAS_TRANSPOSE cblas_op(Transpose op) {
  return op == Transpose::kYes ? CblasTrans : CblasNoTrans;
}

void add_to(double& total, double sum) { total += sum; }
void add_to(SquaredSums& total, const SquaredSums& sum) {
  total.error += sum.error;
  total.signal += sum.signal;
}

// Sums of the pieces, added up in the order of the pieces.
template <class Sums, class Body>
Sums ordered_sum(int threads, std::int64_t rows, const Body& body) {
  std::vector<Sums> sums(static_cast<std::size_t>(cpu::pieces(rows, kRows)));
  cpu::parallel_ranges(
      threads, rows, kRows, [&](std::int64_t begin, std::int64_t count) {
        sums[static_cast<std::size_t>(begin / kRows)] = body(begin, count);
      });
  Sums total{};
  for (const Sums& sum : sums) add_to(total, sum);
  return total;
}

template <class T>
T largest(int threads, MatrixView<const T> x) {
  std::vector<T> maxima(static_cast<std::size_t>(cpu::pieces(x.rows, kRows)));
  cpu::parallel_ranges(
      threads, x.rows, kRows, [&](std::int64_t begin, std::int64_t count) {
        T result = 0;
        for (std::int64_t i = begin; i < begin + count; ++i) {
          for (std::int64_t j = 0; j < x.cols; ++j) {
            result = std::max(result, std::abs(x.row(i)[j]));
          }
        }
        maxima[static_cast<std::size_t>(begin / kRows)] = result;
      });
  return maxima.empty() ? 0 : *std::max_element(maxima.begin(), maxima.end());
}

}  // namespace

float CpuDevice::largest_magnitude(MatrixView<const float> x) {
  return largest(threads_, x);
}

double CpuDevice::largest_magnitude(MatrixView<const double> x) {
  return largest(threads_, x);
}

SquaredSums CpuDevice::squared_sums(MatrixView<const float> y,
                                    MatrixView<const float> reference) {
  return ordered_sum<SquaredSums>(
      threads_, y.rows, [&](std::int64_t begin, std::int64_t count) {
        SquaredSums sums;
        for (std::int64_t i = begin; i < begin + count; ++i) {
          const float* a = y.row(i);
          const float* b = reference.row(i);
          for (std::int64_t j = 0; j < y.cols; ++j) {
            const double error = static_cast<double>(a[j]) - b[j];
            sums.error += error * error;
            sums.signal += static_cast<double>(b[j]) * b[j];
          }
        }
        return sums;
      });
}

double CpuDevice::sum_of_squares(MatrixView<const double> x) {
  return ordered_sum<double>(
      threads_, x.rows, [&](std::int64_t begin, std::int64_t count) {
        double sum = 0;
        for (std::int64_t i = begin; i < begin + count; ++i) {
          for (std::int64_t j = 0; j < x.cols; ++j) {
            sum += x.row(i)[j] * x.row(i)[j];
          }
        }
        return sum;
      });
}

void CpuDevice::cross_entropy(MatrixView<const float> logits,
                              std::span<const std::int32_t> targets,
                              std::span<double> nll) {
  cpu::parallel_for(threads_, logits.rows, [&](std::int64_t i) {
    const auto row = static_cast<std::size_t>(i);
    nll[row] = kernels::negative_log_likelihood(logits.row(i), logits.cols,
                                                targets[row]);
  });
}

void CpuDevice::divergence(MatrixView<const float> reference,
                           MatrixView<const float> logits, std::span<double> kl,
                           std::span<double> agreement) {
  cpu::parallel_for(threads_, logits.rows, [&](std::int64_t i) {
    const auto row = static_cast<std::size_t>(i);
    const kernels::Divergence result =
        kernels::divergence(reference.row(i), logits.row(i), logits.cols);
    kl[row] = result.kl;
    agreement[row] = result.argmax == result.reference_argmax ? 1 : 0;
  });
}

std::int64_t CpuDevice::find_non_finite(MatrixView<const float> x) {
  for (std::int64_t i = 0; i < x.rows; ++i) {
    const float* row = x.row(i);
    // A sum of zeros unless a factor is infinite or NaN.
    float probe = 0;
    for (std::int64_t j = 0; j < x.cols; ++j) probe += row[j] * 0.0f;
    if (probe == 0) continue;
    for (std::int64_t j = 0; j < x.cols; ++j) {
      if (!std::isfinite(row[j])) return i * x.cols + j;
    }
  }
  return -1;
}

void CpuDevice::widen(MatrixView<const float> x, MatrixView<double> y) {
  cpu::parallel_ranges(threads_, x.rows, kRows,
                       [&](std::int64_t begin, std::int64_t count) {
                         for (std::int64_t i = begin; i < begin + count; ++i) {
                           std::copy_n(x.row(i), x.cols, y.row(i));
                         }
                       });
}

void CpuDevice::gemm(double alpha, Transpose op_a, MatrixView<const double> a,
                     Transpose op_b, MatrixView<const double> b, double beta,
                     MatrixView<double> c) {
  const std::int64_t depth = op_a == Transpose::kYes ? a.rows : a.cols;
  WUSH_CHECK((op_a == Transpose::kYes ? a.cols : a.rows) == c.rows &&
                 (op_b == Transpose::kYes ? b.rows : b.cols) == c.cols &&
                 (op_b == Transpose::kYes ? b.cols : b.rows) == depth,
             "gemm of [{}, {}] by [{}, {}] into [{}, {}]", a.rows, a.cols,
             b.rows, b.cols, c.rows, c.cols);
  cpu::parallel_tiles(
      threads_, c.rows, c.cols, kTile, 2 * kTile,
      [&](std::int64_t row, std::int64_t rows, std::int64_t col,
          std::int64_t cols) {
        cblas_dgemm(CblasRowMajor, cblas_op(op_a), cblas_op(op_b),
                    static_cast<blasint>(rows), static_cast<blasint>(cols),
                    static_cast<blasint>(depth), alpha,
                    op_a == Transpose::kYes ? a.data + row : a.row(row),
                    static_cast<blasint>(a.stride),
                    op_b == Transpose::kYes ? b.row(col) : b.data + col,
                    static_cast<blasint>(b.stride), beta, c.row(row) + col,
                    static_cast<blasint>(c.stride));
      });
}

void CpuDevice::accumulate_gram(MatrixView<const float> x, std::int64_t block,
                                MatrixView<double> sigma) {
  const bool full = block == x.cols;
  const std::int64_t tile = full ? std::min(kTile, block) : block;
  const std::int64_t tiles = cpu::pieces(x.cols, tile);
  const std::int64_t count = full ? tiles * (tiles + 1) / 2 : tiles;
  cpu::parallel_for(threads_, count, [&](std::int64_t piece) {
    // Tile (i, j), j <= i, of the lower half in row order, or diagonal block i.
    std::int64_t i = piece;
    std::int64_t j = piece;
    if (full) {
      i = 0;
      while ((i + 1) * (i + 2) / 2 <= piece) ++i;
      j = piece - i * (i + 1) / 2;
    }
    const std::int64_t rows = std::min(tile, x.cols - i * tile);
    const std::int64_t cols = std::min(tile, x.cols - j * tile);
    std::vector<float> product(static_cast<std::size_t>(rows * cols));
    for (std::int64_t token = 0; token < x.rows; token += kGramTokens) {
      cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans,
                  static_cast<blasint>(rows), static_cast<blasint>(cols),
                  static_cast<blasint>(std::min(kGramTokens, x.rows - token)),
                  1.0f, x.row(token) + i * tile, static_cast<blasint>(x.stride),
                  x.row(token) + j * tile, static_cast<blasint>(x.stride), 0.0f,
                  product.data(), static_cast<blasint>(cols));
      for (std::int64_t r = 0; r < rows; ++r) {
        double* target = sigma.row(i * tile + r) + (full ? j * tile : 0);
        for (std::int64_t c = 0; c < cols; ++c) {
          target[c] += product[static_cast<std::size_t>(r * cols + c)];
        }
      }
    }
  });
}

// Right-looking, in tiles: what lies behind a panel is updated by as many
// independent products as there are tiles.
bool CpuDevice::cholesky(MatrixView<double> a) {
  const std::int64_t n = a.rows;
  const auto stride = static_cast<blasint>(a.stride);
  for (std::int64_t k = 0; k < n; k += kTile) {
    const std::int64_t width = std::min(kTile, n - k);
    double* corner = a.row(k) + k;
    // A row-major lower factor is a column-major upper one.
    if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', static_cast<lapack_int>(width),
                       corner, stride) != 0) {
      return false;
    }
    const std::int64_t rest = n - k - width;
    const auto behind = a.rows_from(k + width, rest).cols_from(k, width);
    cpu::parallel_ranges(
        threads_, rest, kTile, [&](std::int64_t begin, std::int64_t count) {
          cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans,
                      CblasNonUnit, static_cast<blasint>(count),
                      static_cast<blasint>(width), 1.0, corner, stride,
                      behind.row(begin), stride);
        });
    const auto trailing =
        a.rows_from(k + width, rest).cols_from(k + width, rest);
    cpu::parallel_tiles(
        threads_, rest, rest, kTile, kTile,
        [&](std::int64_t row, std::int64_t rows, std::int64_t col,
            std::int64_t cols) {
          if (col > row) return;
          cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans,
                      static_cast<blasint>(rows), static_cast<blasint>(cols),
                      static_cast<blasint>(width), -1.0, behind.row(row),
                      stride, behind.row(col), stride, 1.0,
                      trailing.row(row) + col, stride);
        });
  }
  for (std::int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(a.row(i)[i]) || !(a.row(i)[i] > 0)) return false;
    std::fill(a.row(i) + i + 1, a.row(i) + n, 0.0);
  }
  return true;
}

void CpuDevice::flip(MatrixView<double> a) {
  // The antidiagonal mirrors (i, j) to (n-1-j, n-1-i); pairs are met once, from
  // the side with i + j < n - 1.
  const std::int64_t n = a.rows;
  cpu::parallel_ranges(
      threads_, n, kRows, [&](std::int64_t begin, std::int64_t count) {
        for (std::int64_t i = begin; i < begin + count; ++i) {
          for (std::int64_t j = 0; j + i < n - 1; ++j) {
            std::swap(a.row(i)[j], a.row(n - 1 - j)[n - 1 - i]);
          }
        }
      });
}

}  // namespace wush
