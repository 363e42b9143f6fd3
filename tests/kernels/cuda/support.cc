#include "tests/kernels/cuda/support.h"

#include <array>
#include <cctype>

#include "kernels/numerics/group_quantizer.h"

namespace wush::testing {

using numerics::Format;

HostQuantized quantize_by_specification(Format format, numerics::ScaleRule rule,
                                        float unit,
                                        const std::vector<float>& x) {
  HostQuantized out;
  numerics::dispatch_format(format, [&]<Format F>() {
    using Quantizer = numerics::GroupQuantizer<F, float>;
    const Quantizer quantizer{numerics::resolve_unit<F, float>(unit)};
    for (std::size_t i = 0; i < x.size(); i += Quantizer::kGroup) {
      std::array<std::uint8_t, Quantizer::kGroup> codes;
      const std::uint16_t scale =
          quantizer.quantize(x.data() + i, rule, codes.data());
      out.scales.push_back(static_cast<std::uint8_t>(scale & 0xff));
      if (Quantizer::kFormat.scale_bytes() == 2) {
        out.scales.push_back(static_cast<std::uint8_t>(scale >> 8));
      }
      for (std::size_t c = 0; c < codes.size(); c += 2) {
        out.codes.push_back(
            static_cast<std::uint8_t>(codes[c] | codes[c + 1] << 4));
      }
    }
  });
  return out;
}

std::vector<double> decode_by_specification(
    Format format, const std::vector<std::uint8_t>& codes,
    const std::vector<std::uint8_t>& scales) {
  std::vector<double> values(codes.size() * 2);
  numerics::dispatch_format(format, [&]<Format F>() {
    using Quantizer = numerics::GroupQuantizer<F, double>;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t group = i / Quantizer::kGroup;
      std::uint16_t scale = 0;
      if constexpr (Quantizer::kFormat.scale_bytes() == 2) {
        scale = static_cast<std::uint16_t>(scales[2 * group] |
                                           scales[2 * group + 1] << 8);
      } else {
        scale = scales[group];
      }
      const auto code =
          static_cast<std::uint8_t>(codes[i / 2] >> (4 * (i % 2)) & 15);
      values[i] = Quantizer::element(code) * Quantizer::decode_scale(scale);
    }
  });
  return values;
}

std::string test_name(std::string name) {
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

}  // namespace wush::testing
