#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/scale_layout.h"

namespace wush::kernels::cuda {
namespace {

constexpr const char* kName = "convert_scales";

// One thread for each byte of the padded matrix.
__global__ void convert_kernel(const std::uint8_t* __restrict__ from,
                               ScaleLayout from_layout,
                               std::uint8_t* __restrict__ to,
                               ScaleLayout to_layout, std::int64_t rows,
                               std::int64_t groups, std::int64_t padded_rows,
                               std::int64_t padded_groups) {
  const std::int64_t step = gridDim.x * std::int64_t{blockDim.x};
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x;
       i < padded_rows * padded_groups; i += step) {
    const std::int64_t r = i / padded_groups, c = i % padded_groups;
    const bool inside = r < rows && c < groups;
    to[scale_layout_index(to_layout, groups, r, c)] =
        inside ? from[scale_layout_index(from_layout, groups, r, c)] : 0;
  }
}

}  // namespace

std::int64_t scale_layout_bytes(ScaleLayout layout, std::int64_t rows,
                                std::int64_t groups) {
  return layout == ScaleLayout::kRowMajor
             ? rows * groups
             : ceil_div(rows, 128) * ceil_div(groups, 4) * 512;
}

Status convert_scales(const std::uint8_t* from, ScaleLayout from_layout,
                      std::uint8_t* to, ScaleLayout to_layout,
                      std::int64_t rows, std::int64_t groups, Stream stream) {
  if (rows < 0 || groups < 0) {
    return failure(kName, {rows, groups}, "a size is negative");
  }
  if (rows == 0 || groups == 0) return {};
  const bool pad = to_layout == ScaleLayout::kBlackwell128x4;
  const std::int64_t padded_rows = pad ? ceil_div(rows, 128) * 128 : rows;
  const std::int64_t padded_groups = pad ? ceil_div(groups, 4) * 4 : groups;
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(
      ceil_div(padded_rows * padded_groups, 256), 1 << 16));
  convert_kernel<<<blocks, 256, 0, stream>>>(from, from_layout, to, to_layout,
                                             rows, groups, padded_rows,
                                             padded_groups);
  return check(cudaGetLastError(), kName, {rows, groups});
}

}  // namespace wush::kernels::cuda
