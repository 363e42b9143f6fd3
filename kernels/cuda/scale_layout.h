// Layouts of the scales of a quantized matrix.
#pragma once

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

enum class ScaleLayout : std::uint8_t {
  // [rows, groups], row-major: what is stored, and what every kernel here
  // reads.
  kRowMajor,
  // What Blackwell's block-scaled matrix instructions (tcgen05) and cuBLASLt
  // read: blocks of 128 rows by 4 groups, 512 bytes each, ordered by row block,
  // then group block. Within a block the scale of row r, group c lies at
  // (r % 32) * 16 + (r / 32) * 4 + c. Rows are padded to 128 and groups to 4
  // with zero bytes.
  kBlackwell128x4,
};

// Bytes of one-byte scales [rows, groups] in a layout.
std::int64_t scale_layout_bytes(ScaleLayout layout, std::int64_t rows,
                                std::int64_t groups);

// Byte of row r, group c in a layout. Usable on the host and in kernels.
constexpr std::int64_t scale_layout_index(ScaleLayout layout,
                                          std::int64_t groups, std::int64_t r,
                                          std::int64_t c) {
  if (layout == ScaleLayout::kRowMajor) return r * groups + c;
  const std::int64_t block = r / 128 * ((groups + 3) / 4) + c / 4;
  return block * 512 + r % 32 * 16 + r % 128 / 32 * 4 + c % 4;
}

// Converts one-byte scales (mxfp4, nvfp4) [rows, groups] from one layout to the
// other. `to` has scale_layout_bytes(to_layout, rows, groups) and does not
// overlap `from`.
Status convert_scales(const std::uint8_t* from, ScaleLayout from_layout,
                      std::uint8_t* to, ScaleLayout to_layout,
                      std::int64_t rows, std::int64_t groups, Stream stream);

}  // namespace wush::kernels::cuda
