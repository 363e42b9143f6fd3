// Which instruction sets the kernels may use; decided once per process.
#pragma once

#include <string_view>

namespace wush::kernels {

enum class Isa { kPortable, kAvx2, kAvx512 };

constexpr std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kPortable:
      break;
  }
  return "portable";
}

// Whether this build holds code for `isa` and this CPU runs it.
//   kAvx2: AVX2, FMA, F16C; kAvx512: those and AVX-512 F, BW, DQ, VL.
bool isa_available(Isa isa);

// The best one available; what every function of kernels/cpu uses.
Isa best_isa();

}  // namespace wush::kernels
