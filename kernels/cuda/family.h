// Formats that share device code.
#pragma once

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

// What differs within a family is in QuantizerConstants.
enum class Family : std::uint8_t {
  kPowerOfTwo,  // mxfp4, mxfp4-ocp: e2m1 with e8m0
  kE4m3,        // nvfp4: e2m1 with e4m3
  kStep,        // int4: integers with a bfloat16 step
};

constexpr Family family_of(Format format) {
  return format == Format::kNvfp4  ? Family::kE4m3
         : format == Format::kInt4 ? Family::kStep
                                   : Family::kPowerOfTwo;
}

// f.operator()<Family>() for the format's family.
template <class F>
decltype(auto) dispatch_family(Format format, F&& f) {
  switch (family_of(format)) {
    case Family::kPowerOfTwo:
      return f.template operator()<Family::kPowerOfTwo>();
    case Family::kE4m3:
      return f.template operator()<Family::kE4m3>();
    case Family::kStep:
      break;
  }
  return f.template operator()<Family::kStep>();
}

constexpr int group_of(Family family) {
  return family == Family::kE4m3 ? 16 : 32;
}

}  // namespace wush::kernels::cuda
