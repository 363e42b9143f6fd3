#include "kernels/cuda/scale_layout.h"

#include "tests/kernels/cuda/support.h"

namespace wush {
namespace {

using kernels::cuda::ScaleLayout;
using testing::DeviceBuffer;

TEST(ScaleLayoutIndex, FollowsTheBlocksOfThePublishedLayout) {
  // cuBLAS, "1D block scaling factors layout": 128 x 4 tiles of 512 bytes,
  // offset (outer % 32) * 16 + (outer / 32) * 4 + inner.
  constexpr auto kTo = ScaleLayout::kBlackwell128x4;
  EXPECT_EQ(kernels::cuda::scale_layout_index(kTo, 8, 0, 0), 0);
  EXPECT_EQ(kernels::cuda::scale_layout_index(kTo, 8, 1, 0), 16);
  EXPECT_EQ(kernels::cuda::scale_layout_index(kTo, 8, 32, 3), 7);
  EXPECT_EQ(kernels::cuda::scale_layout_index(kTo, 8, 127, 3), 511);
  EXPECT_EQ(kernels::cuda::scale_layout_index(kTo, 8, 0, 4), 512);
  EXPECT_EQ(kernels::cuda::scale_layout_index(kTo, 8, 128, 0), 1024);
  EXPECT_EQ(kernels::cuda::scale_layout_bytes(kTo, 129, 5), 2048);
}

TEST(CudaScaleLayoutSanitize, ThereAndBackIsTheIdentityAndPadsWithZeros) {
  WUSH_REQUIRE_GPU();
  for (const auto& [rows, groups] :
       {std::pair{1, 1}, {128, 4}, {200, 7}, {513, 130}}) {
    std::vector<std::uint8_t> scales(static_cast<std::size_t>(rows * groups));
    for (std::size_t i = 0; i < scales.size(); ++i) {
      scales[i] = static_cast<std::uint8_t>(i * 7 + 1);
    }
    DeviceBuffer<std::uint8_t> from(scales), back(scales.size());
    DeviceBuffer<std::uint8_t> swizzled(
        static_cast<std::size_t>(kernels::cuda::scale_layout_bytes(
            ScaleLayout::kBlackwell128x4, rows, groups)));
    EXPECT_OK(kernels::cuda::convert_scales(
        from.get(), ScaleLayout::kRowMajor, swizzled.get(),
        ScaleLayout::kBlackwell128x4, rows, groups, nullptr));
    EXPECT_OK(kernels::cuda::convert_scales(
        swizzled.get(), ScaleLayout::kBlackwell128x4, back.get(),
        ScaleLayout::kRowMajor, rows, groups, nullptr));
    EXPECT_EQ(back.host(), scales);
    std::vector<std::uint8_t> want(swizzled.host().size(), 0);
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < groups; ++c) {
        want[static_cast<std::size_t>(kernels::cuda::scale_layout_index(
            ScaleLayout::kBlackwell128x4, groups, r, c))] =
            scales[static_cast<std::size_t>(r * groups + c)];
      }
    }
    EXPECT_EQ(swizzled.host(), want) << rows << " x " << groups;
  }
}

}  // namespace
}  // namespace wush
