#include "lib/checkpoint/weight_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/numerics/bfloat16.h"
#include "lib/support/error.h"
#include "lib/support/unicode.h"

namespace wush {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors holds little-endian values");

constexpr size_t kPieceBytes = 1 << 20;

template <float (*Decode)(uint16_t)>
void widen(const std::byte* bytes, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes + i * sizeof(bits), sizeof(bits));
    out[i] = Decode(bits);
  }
}

float decode_bfloat16(uint16_t bits) { return numerics::bfloat16_decode(bits); }
float decode_float16(uint16_t bits) { return numerics::float16_decode(bits); }

bool all_finite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000u;
  bool finite = true;
  for (const float value : values) {
    finite &= (std::bit_cast<uint32_t>(value) & kExponent) != kExponent;
  }
  return finite;
}

// The position of a row-major offset in each dimension.
std::vector<int64_t> unravel(int64_t offset, std::span<const int64_t> shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = offset % shape[d];
    offset /= shape[d];
  }
  return index;
}

[[noreturn]] void refuse_non_finite(const SafetensorsFile& file,
                                    const SafetensorsEntry& entry,
                                    std::span<const float> values,
                                    size_t begin) {
  const auto bad = std::find_if(values.begin(), values.end(), [](float value) {
    return !numerics::is_finite(value);
  });
  const auto offset =
      static_cast<int64_t>(begin) + std::distance(values.begin(), bad);
  throw InputError(
      fmt::format("{}#/{}", file.file().name(), printable(entry.name)),
      fmt::format("expected a finite value at {}, found {}",
                  format_shape(unravel(offset, entry.shape)), *bad));
}

}  // namespace

void read_weights(const SafetensorsFile& file, const SafetensorsEntry& entry,
                  std::span<float> out) {
  const uint64_t width = data_type_size(entry.type);
  const size_t piece_values = kPieceBytes / sizeof(float);
  std::vector<std::byte> bytes(
      entry.type == DataType::kFloat32
          ? 0
          : std::min<size_t>(piece_values * width, entry.size));
  for (size_t begin = 0; begin < out.size(); begin += piece_values) {
    const std::span<float> piece =
        out.subspan(begin, std::min(piece_values, out.size() - begin));
    const uint64_t offset = entry.offset + begin * width;
    const std::span<std::byte> raw =
        std::span(bytes).first(bytes.empty() ? 0 : piece.size() * width);
    if (entry.type == DataType::kFloat32) {
      file.file().read(offset, std::as_writable_bytes(piece));
    } else {
      file.file().read(offset, raw);
    }
    if (entry.type == DataType::kBfloat16) {
      widen<decode_bfloat16>(raw.data(), piece);
    } else if (entry.type == DataType::kFloat16) {
      widen<decode_float16>(raw.data(), piece);
    }
    if (!all_finite(piece)) refuse_non_finite(file, entry, piece, begin);
  }
  file.file().check_unchanged();
}

}  // namespace wush
