// Block transforms of rows: each block of `block` consecutive channels is
// multiplied by its own matrix (spec method.md: y_j = sum_k T[j, k] x_k).
#pragma once

#include <cstdint>

namespace wush::kernels {

// y[r, i * block + j] = sum_k t[i, j, k] x[r, i * block + k], accumulated in
// float32 in ascending k with one accumulator per value, so that the result
// depends on no other row.
//   x: [rows, blocks * block], x_stride apart; y likewise, and not overlapping
//   x t: [blocks, block, block] row-major, or one [block, block] for all blocks
//      when `shared`
// block >= 1 is any size; multiples of 16 are fast.
void block_transform(const float* x, std::int64_t rows, std::int64_t blocks,
                     std::int64_t block, std::int64_t x_stride, const float* t,
                     bool shared, float* y, std::int64_t y_stride);

// In place: every block of every row times the orthonormal Sylvester Hadamard
// matrix H[j, k] = (-1)^popcount(j & k) / sqrt(block). block is a power of two;
// throws std::invalid_argument otherwise.
void block_hadamard(float* x, std::int64_t rows, std::int64_t blocks,
                    std::int64_t block, std::int64_t stride);

}  // namespace wush::kernels
