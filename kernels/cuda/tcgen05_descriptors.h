// The words that describe operands to Blackwell's fifth-generation tensor cores
// (tcgen05, sm_100a), after the PTX ISA 9.0. Plain integers: what the kernels
// issue is what the tests compare with the tables, without a device.
#pragma once

#include <cstdint>

namespace wush::kernels::cuda {

// Columns of e2m1 that one tcgen05.mma multiplies.
inline constexpr int kTcgen05Columns = 64;

enum class SharedSwizzle : std::uint8_t {
  kNone = 0,
  k128Bytes = 2,  // 16-byte piece c of row r lies at piece c ^ (r % 8)
};

// Section 9.7.16.4.1, "Shared memory descriptor": a matrix in shared memory, k
// along its rows, whose groups of eight rows are `stride` bytes apart. Bits
// 0-13 the address and bits 32-45 the stride, both without their low four bits;
// bits 46-48 the constant 1; bits 61-63 the swizzle. Zero: the leading
// dimension's offset (bits 16-29; a row is one swizzle atom or one 16-byte
// piece wide), the base offset (bits 49-51; a swizzled matrix starts at a
// multiple of 1024 bytes) and the mode of the leading dimension (bit 52).
constexpr std::uint64_t shared_descriptor(std::uint32_t address,
                                          std::uint32_t stride,
                                          SharedSwizzle swizzle) {
  return std::uint64_t{(address & 0x3ffffu) >> 4} |
         std::uint64_t{(stride & 0x3ffffu) >> 4} << 32 | 1ull << 46 |
         static_cast<std::uint64_t>(swizzle) << 61;
}

// What to add to a descriptor so that it starts `bytes` further along the rows.
constexpr std::uint64_t descriptor_advance(std::uint32_t bytes) {
  return bytes >> 4;
}

// Section 9.7.16.4.2, "Instruction descriptor format for .kind::mxf4 and
// .kind::mxf4nvf4": dense, both operands e2m1 (1) and k along the rows, K = 64,
// a tile of rows by columns. scale_id is the byte at which the scales of a word
// start, for both operands: 0 or 2 with two scales, 0 with four.
constexpr std::uint32_t fp4_instruction_descriptor(int rows, int columns,
                                                   bool e8m0_scales,
                                                   int scale_id) {
  return static_cast<std::uint32_t>(scale_id) << 4 | 1u << 7 | 1u << 10 |
         static_cast<std::uint32_t>(columns >> 3) << 17 |
         (e8m0_scales ? 1u : 0u) << 23 |
         static_cast<std::uint32_t>(rows >> 7) << 27 |
         static_cast<std::uint32_t>(scale_id) << 29;
}

// Scales reach tensor memory in blocks of 128 rows by 4 groups, which are
// ScaleLayout::kBlackwell128x4 in shared memory: tcgen05.cp.32x128b.warpx4
// takes byte b of the 512 to lane b / 16 (of each quarter of the lanes), column
// b % 16 / 4, byte b % 4. That is where section 9.7.16.10.7 has tcgen05.mma
// look for the scales: row r in lane r % 32 and column r / 32. Instruction
// `step` along the rows then takes its 64 / group scales from block scale_block
// and from byte scale_id on.
constexpr int scale_block(int step, int group) {
  return step * (kTcgen05Columns / group) / 4;
}
constexpr int scale_id(int step, int group) {
  return step * (kTcgen05Columns / group) % 4;
}

// Section 9.7.16.1: addresses in tensor memory, 128 lanes by 512 columns of 32
// bits.
constexpr std::uint32_t tensor_address(std::uint32_t base, int lane,
                                       int column) {
  return base + (static_cast<std::uint32_t>(lane) << 16) +
         static_cast<std::uint32_t>(column);
}

}  // namespace wush::kernels::cuda
