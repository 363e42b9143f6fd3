// The block formats, each one constexpr descriptor (spec: "Block formats").
//
// A group of `group` consecutive input channels shares one scale. With a
// statistic a of the group (largest magnitude, or root mean square) and the
// tensor's constant `unit`:
//   scale = scale_type(a / (unit * target))
//   code  = element(x / (unit * scale))
//   x    ~= element value * scale * unit
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace wush::numerics {

enum class Element : std::uint8_t {
  kE2m1,  // +-{0, 0.5, 1, 1.5, 2, 3, 4, 6}
  kInt4,  // mid-rise integers: code c in [-8, 7] means c + 0.5; the nibble is
          // c in two's complement
};

enum class ScaleType : std::uint8_t {
  kE8m0Round,  // power of two, significand 1.5 and above rounds up
  kE8m0Floor,  // power of two, rounded down
  kE4m3,       // nearest even, saturating
  kBfloat16,   // nearest even
};

enum class Statistic : std::uint8_t { kAbsMax, kRms };

struct BlockFormat {
  std::string_view name;
  int group;  // elements that share a scale
  Element element;
  ScaleType scale;
  Statistic statistic;
  double target;      // element value that the statistic is mapped to
  double unit;        // decode constant; what a fixed global scale is
  bool global_scale;  // `unit` may instead be chosen per tensor

  constexpr int scale_bytes() const {
    return scale == ScaleType::kBfloat16 ? 2 : 1;
  }
  // Bits of storage per weight, scales included.
  constexpr double bits_per_element() const {
    return 4.0 + 8.0 * scale_bytes() / group;
  }
};

enum class Format : std::uint8_t { kMxfp4, kNvfp4, kInt4, kMxfp4Ocp };

// mxfp4: the largest magnitude a group can hold is the smallest power of two
//   above amax, so nothing clips (amax * 3 / 4 rounds up from 1.5).
// nvfp4: unit 0.1 stands for a per-tensor scale; `amax` chooses it as
//   amax(tensor) / (6 * 448).
// int4: the MSE-optimal clipping of a Gaussian at 4 bits, 2.5139... RMS.
// mxfp4-ocp: the OCP rule, 2^(floor(log2 amax) - 2), saturating.
inline constexpr std::array<BlockFormat, 4> kBlockFormats = {{
    {"mxfp4", 32, Element::kE2m1, ScaleType::kE8m0Round, Statistic::kAbsMax, 4,
     1.0 / 3, false},
    {"nvfp4", 16, Element::kE2m1, ScaleType::kE4m3, Statistic::kAbsMax, 6, 0.1,
     true},
    {"int4", 32, Element::kInt4, ScaleType::kBfloat16, Statistic::kRms,
     15 / (2 * 2.513930578568423), 1.0, false},
    {"mxfp4-ocp", 32, Element::kE2m1, ScaleType::kE8m0Floor, Statistic::kAbsMax,
     4, 1.0, false},
}};

constexpr const BlockFormat& describe(Format format) {
  return kBlockFormats[static_cast<std::size_t>(format)];
}

static_assert(describe(Format::kMxfp4).bits_per_element() == 4.25);
static_assert(describe(Format::kNvfp4).bits_per_element() == 4.5);
static_assert(describe(Format::kInt4).bits_per_element() == 4.5);
static_assert(describe(Format::kMxfp4Ocp).bits_per_element() == 4.25);

// How the scale of a group is chosen: the candidate with the smallest squared
// error of the group, the first on ties; the absmax scale is the first.
//   mse2   also nvfp4 e4m3(amax / (4 unit)), mxfp4 half the scale, int4 0.85
//          times the step (on nvfp4: four-over-six, arXiv 2512.02010)
//   search also nvfp4 the e4m3 neighbours -5 .. +5, mxfp4 times 1/4, 1/2, 2,
//          int4 times 0.7, 0.8, 0.9, 1.1, 1.2
enum class ScaleRule : std::uint8_t { kAbsMax, kMse2, kSearch };

inline constexpr std::array<std::string_view, 3> kScaleRuleNames = {
    "absmax", "mse2", "search"};

// The one place where a format known at run time becomes a compile-time one:
// calls f.template operator()<Format>().
template <class F>
constexpr decltype(auto) dispatch_format(Format format, F&& f) {
  switch (format) {
    case Format::kMxfp4:
      return f.template operator()<Format::kMxfp4>();
    case Format::kNvfp4:
      return f.template operator()<Format::kNvfp4>();
    case Format::kInt4:
      return f.template operator()<Format::kInt4>();
    case Format::kMxfp4Ocp:
      break;
  }
  return f.template operator()<Format::kMxfp4Ocp>();
}

}  // namespace wush::numerics
