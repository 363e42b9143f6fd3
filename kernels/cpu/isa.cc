#include "kernels/cpu/isa.h"

#if defined(WUSH_KERNELS_X86)
#include <cpuid.h>
#endif

#include "kernels/cpu/simd/kernels.h"

namespace wush::kernels {
namespace {

#if defined(WUSH_KERNELS_X86)
// __builtin_cpu_supports knows f16c only from clang 15 on.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

}  // namespace

bool isa_available(Isa isa) {
#if defined(WUSH_KERNELS_X86)
  const bool avx2 = __builtin_cpu_supports("avx2") &&
                    __builtin_cpu_supports("fma") && has_f16c();
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
