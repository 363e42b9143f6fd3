#include "kernels/cpu/isa.h"

#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels {

bool isa_available(Isa isa) {
#if defined(WUSH_KERNELS_X86)
  const bool avx2 = __builtin_cpu_supports("avx2") &&
                    __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (isa == Isa::kAvx2) return avx2;
  if (isa == Isa::kAvx512) {
    return avx2 && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  }
#endif
  return isa == Isa::kPortable;
}

Isa best_isa() {
  static const Isa best = isa_available(Isa::kAvx512) ? Isa::kAvx512
                          : isa_available(Isa::kAvx2) ? Isa::kAvx2
                                                      : Isa::kPortable;
  return best;
}

const Kernels& kernels_for(Isa isa) {
  static constexpr Kernels kPortable = {
      &portable::kQuantizeKernels, &portable::kFeedbackKernels,
      &portable::kModelKernels, &portable::kTransformKernels};
#if defined(WUSH_KERNELS_X86)
  static constexpr Kernels kAvx2 = {
      &avx2::kQuantizeKernels, &avx2::kFeedbackKernels, &avx2::kModelKernels,
      &avx2::kTransformKernels};
  static constexpr Kernels kAvx512 = {
      &avx512::kQuantizeKernels, &avx512::kFeedbackKernels,
      &avx512::kModelKernels, &avx512::kTransformKernels};
  if (isa == Isa::kAvx2) return kAvx2;
  if (isa == Isa::kAvx512) return kAvx512;
#endif
  static_cast<void>(isa);
  return kPortable;
}

const Kernels& best_kernels() {
  static const Kernels& best = kernels_for(best_isa());
  return best;
}

}  // namespace wush::kernels
