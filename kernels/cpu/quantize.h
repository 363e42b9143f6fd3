// Quantizing rows of a matrix to a block format, and back.
//
// All functions are single-threaded; rows are independent, so a caller splits
// them as it likes without changing a bit of the result. Every instruction set
// gives the same bits as numerics::GroupQuantizer<F, P>, P the type of the
// values.
//
// Layouts: a matrix is [rows, cols] row-major, `stride` values apart (stride >=
// cols); groups run along a row, cols is a multiple of the format's group.
// Codes are packed two a byte, the even column in the low nibble, row r at
// codes + r * cols / 2. Scales are [rows, cols / group], one byte each, or two
// (a bfloat16, native byte order) for int4.
#pragma once

#include <cstdint>

#include "kernels/numerics/format.h"

namespace wush::kernels {

using numerics::Format;
using numerics::ScaleRule;

// What quantizing returns when nothing went wrong.
inline constexpr std::int64_t kAllFinite = -1;

// Quantizes `x`. `unit` is numerics::kFormatUnit, or, for a format with a
// global scale, the tensor's decode constant (numerics::amax_unit).
//
// Returns kAllFinite, or row * cols + col of the first value that cannot be
// quantized: a value that is not finite or, where the value found there is
// finite, the first column of a group whose scale is beyond its type (int4:
// root mean square times 0.3352 beyond bfloat16, or squares beyond the value
// type). Codes and scales are then unspecified from that row on.
//
// Throws std::invalid_argument on a unit that numerics::is_valid_unit refuses
// or cols that is not a multiple of the group.
std::int64_t quantize_rows(Format format, ScaleRule rule, float unit,
                           const float* x, std::int64_t rows, std::int64_t cols,
                           std::int64_t stride, std::uint8_t* codes,
                           void* scales);
std::int64_t quantize_rows(Format format, ScaleRule rule, float unit,
                           const double* x, std::int64_t rows,
                           std::int64_t cols, std::int64_t stride,
                           std::uint8_t* codes, void* scales);

// Decodes: out[r * stride + c] = element value * P(scale * unit). Throws as
// quantize_rows.
void dequantize_rows(Format format, float unit, const std::uint8_t* codes,
                     const void* scales, std::int64_t rows, std::int64_t cols,
                     std::int64_t stride, float* out);
void dequantize_rows(Format format, float unit, const std::uint8_t* codes,
                     const void* scales, std::int64_t rows, std::int64_t cols,
                     std::int64_t stride, double* out);

// Codes one a byte (0..15) to two a byte and back; count is even.
void pack_codes(const std::uint8_t* codes, std::int64_t count,
                std::uint8_t* packed);
void unpack_codes(const std::uint8_t* packed, std::int64_t count,
                  std::uint8_t* codes);

}  // namespace wush::kernels
