// What the interfaces of all CUDA kernels share. Compiles without nvcc.
//
// Every function enqueues on the given stream of the current device and returns
// at once; pointers are device pointers, aligned to 16 bytes unless said
// otherwise, and stay valid until the stream has run past the call. Layouts are
// those of kernels/cpu/quantize.h: matrices row-major, two codes a byte with
// the even column in the low nibble, scales [rows, cols / group].
#pragma once

#include <cstdint>

#include "kernels/cuda/status.h"
#include "kernels/numerics/format.h"

struct CUstream_st;

namespace wush::kernels::cuda {

using numerics::Format;
using numerics::ScaleRule;
using Stream = ::CUstream_st*;

enum class DataType : std::uint8_t { kBfloat16, kFloat16, kFloat32 };

constexpr int size_of(DataType type) {
  return type == DataType::kFloat32 ? 4 : 2;
}

// Value of `first_bad` that says that every value could be quantized.
inline constexpr std::uint64_t kNoneBad = ~std::uint64_t{0};

// Where quantizing kernels write.
struct QuantizedOutput {
  std::uint8_t* codes;  // [rows, cols / 2]
  void* scales;         // [rows, cols / group], uint8, or bfloat16 for int4
  // Device word, or null to not check. The kernel lowers it to the smallest
  // row * cols + col of a value that cannot be quantized (not finite; or the
  // first column of an int4 group whose scale is beyond bfloat16; after a block
  // transform always the first column of the group); the caller sets it to
  // kNoneBad before. Codes and scales of such groups are unspecified.
  std::uint64_t* first_bad;
};

// A quantized matrix [rows, cols].
struct QuantizedMatrix {
  const std::uint8_t* codes;
  const void* scales;
  std::int64_t rows;
  float unit;  // numerics::kFormatUnit, or the tensor's decode constant
  // Whether all that writes it has ended when the call is made (captured calls:
  // when the graph is launched), as is true of a model's weights. Kernels may
  // then read it while the launches before theirs are still under way; results
  // do not depend on it.
  bool settled = false;
};

}  // namespace wush::kernels::cuda
