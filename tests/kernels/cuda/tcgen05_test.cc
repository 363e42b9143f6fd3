// What the tcgen05 kernel tells the hardware, against the tables of the PTX ISA
// 9.0; no device needed. The kernel itself has never been run.
#include <gtest/gtest.h>

#include <set>

#include "kernels/cuda/scale_layout.h"
#include "kernels/cuda/tcgen05_descriptors.h"

namespace wush {
namespace {

using kernels::cuda::fp4_instruction_descriptor;
using kernels::cuda::ScaleLayout;
using kernels::cuda::shared_descriptor;
using kernels::cuda::SharedSwizzle;

// Bits [first, last] of a word.
constexpr std::uint64_t field(std::uint64_t word, int first, int last) {
  return word >> first & ((1ull << (last - first + 1)) - 1);
}

// 9.7.16.4.1, by hand: 0x1400 >> 4 = 0x140; 1024 >> 4 = 0x40 from bit 32; 1
// from bit 46; 2 (128-byte swizzle) from bit 61.
static_assert(shared_descriptor(0x1400, 1024, SharedSwizzle::k128Bytes) ==
              0x4000'4040'0000'0140ull);
// 128 >> 4 = 8 from bit 32, no swizzle.
static_assert(shared_descriptor(0x38e00, 128, SharedSwizzle::kNone) ==
              0x0000'4008'0000'38e0ull);

// 9.7.16.4.2, by hand: 1 from bit 7, 1 from bit 10, 128 >> 3 = 16 from bit 17,
// 128 >> 7 = 1 from bit 27; bit 23 for e8m0; 2 from bits 4 and 29 for the
// second pair of scales in a word.
static_assert(fp4_instruction_descriptor(128, 128, false, 0) == 0x08200480u);
static_assert(fp4_instruction_descriptor(128, 128, true, 0) == 0x08a00480u);
static_assert(fp4_instruction_descriptor(128, 128, true, 2) == 0x48a004a0u);

TEST(Tcgen05Descriptors, SharedFieldsLieWhereTheTableSays) {
  for (const std::uint32_t address : {0u, 16u, 1024u, 0x38000u, 0x3fff0u}) {
    const auto word =
        shared_descriptor(address, 1024, SharedSwizzle::k128Bytes);
    EXPECT_EQ(field(word, 0, 13), address / 16);
    EXPECT_EQ(field(word, 14, 31), 0);  // reserved, leading dimension
    EXPECT_EQ(field(word, 32, 45), 1024 / 16);
    EXPECT_EQ(field(word, 46, 48), 1);
    EXPECT_EQ(field(word, 49, 60), 0);  // base offset, mode, constant 0
    EXPECT_EQ(field(word, 61, 63), 2);
    if (address + 96 <= 0x3ffff) {
      EXPECT_EQ(
          word + kernels::cuda::descriptor_advance(96),
          shared_descriptor(address + 96, 1024, SharedSwizzle::k128Bytes));
    }
  }
}

TEST(Tcgen05Descriptors, InstructionFieldsLieWhereTheTableSays) {
  for (const bool e8m0 : {false, true}) {
    for (const int columns : {16, 128, 256}) {
      for (const int id : {0, 2}) {
        const auto word = fp4_instruction_descriptor(128, columns, e8m0, id);
        EXPECT_EQ(field(word, 0, 3), 0);  // dense
        EXPECT_EQ(field(word, 4, 5), static_cast<std::uint64_t>(id));
        EXPECT_EQ(field(word, 6, 6), 0);
        EXPECT_EQ(field(word, 7, 9), 1);    // a: e2m1
        EXPECT_EQ(field(word, 10, 11), 1);  // b: e2m1
        EXPECT_EQ(field(word, 12, 16), 0);  // no negation, k along rows
        EXPECT_EQ(field(word, 17, 22), static_cast<std::uint64_t>(columns / 8));
        EXPECT_EQ(field(word, 23, 23), e8m0 ? 1 : 0);
        EXPECT_EQ(field(word, 24, 26), 0);
        EXPECT_EQ(field(word, 27, 28), 1);  // 128 rows
        EXPECT_EQ(field(word, 29, 30), static_cast<std::uint64_t>(id));
        EXPECT_EQ(field(word, 31, 31), 0);  // K = 64
      }
    }
  }
}

// Follows every scale of a stage of 256 columns from its row and group to the
// byte of tensor memory that tcgen05.cp puts it in, and checks that this is
// where tcgen05.mma looks for it.
TEST(Tcgen05Scales, ReachTheirInstruction) {
  for (const int group : {16, 32}) {
    const int groups = 256 / group, per_step = 64 / group;
    std::set<std::int64_t> used;
    for (int row = 0; row < 128; ++row) {
      for (int step = 0; step < 4; ++step) {
        const int block = kernels::cuda::scale_block(step, group);
        const int id = kernels::cuda::scale_id(step, group);
        // Allowed: 0 or 2 with two scales, 0 with four.
        EXPECT_TRUE(id == 0 || (id == 2 && per_step == 2));
        for (int i = 0; i < per_step; ++i) {
          const std::int64_t at = kernels::cuda::scale_layout_index(
              ScaleLayout::kBlackwell128x4, groups, row, per_step * step + i);
          used.insert(at);
          EXPECT_EQ(at / 512, block);
          EXPECT_EQ(at % 512 / 16, row % 32);  // lane
          EXPECT_EQ(at % 16 / 4, row / 32);    // column
          EXPECT_EQ(at % 4, id + i) << "byte of the word";
        }
      }
    }
    EXPECT_EQ(used.size(), static_cast<std::size_t>(128 * groups));
    EXPECT_EQ(*used.rbegin(), 128 * groups - 1);
  }
}

TEST(Tcgen05Addresses, AreLaneThenColumn) {
  EXPECT_EQ(kernels::cuda::tensor_address(0x100, 96, 32), 0x0060'0120u);
}

}  // namespace
}  // namespace wush
