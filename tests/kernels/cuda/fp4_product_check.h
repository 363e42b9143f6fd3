// Operands of FP4 products and what the device's results are checked against.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/fp4_matmul.h"
#include "kernels/numerics/format.h"

namespace wush::testing {

struct Fp4Operand {
  std::vector<std::uint8_t> codes, scales;
  std::vector<double> values;  // [rows, cols], decoded but for the unit
};

// Random codes with scales that differ by up to 2^`spread` from group to group.
Fp4Operand make_operand(numerics::Format format, std::int64_t rows,
                        std::int64_t cols, int spread, std::uint32_t seed);

struct ProductShape {
  std::int64_t tokens, features, cols;
};

// For the names of tests.
std::string kernel_name(kernels::cuda::MatmulKernel kernel);

// What a kernel takes columns in multiples of.
std::int64_t columns_of(kernels::cuda::MatmulKernel kernel);

// Whether it is for compute capability 9.0 only.
bool is_for_hopper(kernels::cuda::MatmulKernel kernel);

// The sum of the products of token m and feature n in double, and that of their
// magnitudes, both but for the units.
struct ProductSum {
  double sum = 0, magnitude = 0;
};
ProductSum sum_products(const ProductShape& shape, const Fp4Operand& x,
                        const Fp4Operand& w, std::int64_t m, std::int64_t n);

// A kernel's x w^T [tokens, features] in float32. Fails the test where it is
// refused.
void multiply(kernels::cuda::MatmulKernel kernel, numerics::Format format,
              const ProductShape& shape, const Fp4Operand& x,
              const Fp4Operand& w, std::vector<float>* y);

// Fails the test where an output of x [tokens, cols] and w [features, cols]
// differs from the sum in double by more than the matrix units may, or where
// settled weights change a bit of it.
void check_operands(kernels::cuda::MatmulKernel kernel, numerics::Format format,
                    const ProductShape& shape, kernels::cuda::DataType type,
                    bool with_bias, const Fp4Operand& x, const Fp4Operand& w);

// The same of random operands.
void check_product(kernels::cuda::MatmulKernel kernel, numerics::Format format,
                   const ProductShape& shape, kernels::cuda::DataType type,
                   bool with_bias, int spread);

}  // namespace wush::testing
