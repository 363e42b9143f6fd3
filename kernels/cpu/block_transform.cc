#include "kernels/cpu/block_transform.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels {
namespace {

// Matrices are transposed a panel of blocks at a time, of about this many
// floats (128 KiB: with the rows' segments it stays in a second-level cache).
constexpr std::int64_t kPanelValues = 32768;

// Rows that cross a panel together. Their segments of one panel are read in
// sequence, which strides of whole rows would not be.
constexpr std::int64_t kRowTile = 16;

// A cache line of each output row at a time.
void transpose(const float* t, std::int64_t block, float* out) {
  constexpr std::int64_t kLine = 16;
  for (std::int64_t first = 0; first < block; first += kLine) {
    const std::int64_t last = std::min(block, first + kLine);
    for (std::int64_t k = 0; k < block; ++k) {
      for (std::int64_t j = first; j < last; ++j) {
        out[k * block + j] = t[j * block + k];
      }
    }
  }
}

}  // namespace

void block_transform(const float* x, std::int64_t rows, std::int64_t blocks,
                     std::int64_t block, std::int64_t x_stride, const float* t,
                     bool shared, float* y, std::int64_t y_stride) {
  const auto apply = best_kernels().transform->apply;
  const std::int64_t size = block * block;
  const std::int64_t panel =
      shared ? blocks : std::max<std::int64_t>(1, kPanelValues / size);
  std::vector<float> transposed(
      static_cast<std::size_t>(shared ? size : panel * size));
  for (std::int64_t first = 0; first < blocks; first += panel) {
    const std::int64_t last = std::min(blocks, first + panel);
    for (std::int64_t i = first; i < (shared ? 1 : last); ++i) {
      transpose(t + i * size, block, transposed.data() + (i - first) * size);
    }
    for (std::int64_t r = 0; r < rows; r += kRowTile) {
      const std::int64_t count = std::min(kRowTile, rows - r);
      for (std::int64_t i = first; i < last; ++i) {
        const std::int64_t matrix = shared ? 0 : i - first;
        apply(x + r * x_stride + i * block, count, block, x_stride,
              transposed.data() + matrix * size, y + r * y_stride + i * block,
              y_stride);
      }
    }
  }
}

void block_hadamard(float* x, std::int64_t rows, std::int64_t blocks,
                    std::int64_t block, std::int64_t stride) {
  if (block <= 0 || (block & (block - 1)) != 0) {
    throw std::invalid_argument(
        "expected a power of two as the block of a Hadamard transform, found " +
        std::to_string(block));
  }
  best_kernels().transform->hadamard(x, rows, blocks, block, stride);
}

}  // namespace wush::kernels
