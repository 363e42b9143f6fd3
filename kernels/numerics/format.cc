#include "kernels/numerics/format.h"

#include "kernels/numerics/group_quantizer.h"

// The tables of the contract that can be checked while compiling.
namespace wush::numerics {

static_assert(e2m1_encode(0.25f) == 0 && e2m1_encode(0.75f) == 2 &&
              e2m1_encode(1.25f) == 2 && e2m1_encode(1.75f) == 4 &&
              e2m1_encode(2.5f) == 4 && e2m1_encode(3.5f) == 6 &&
              e2m1_encode(5.0f) == 6 && e2m1_encode(-0.0f) == 8);
static_assert(e4m3_decode<float>(kE4m3MaxCode) == 448.0f &&
              e4m3_encode(1e9f) == kE4m3MaxCode);
static_assert(e8m0_round(1.5f) == 128 && e8m0_round(1.49f) == 127);
static_assert(bfloat16_encode(1.00390625) == 0x3f80 &&
              bfloat16_encode(1.003906250000001) == 0x3f81);

}  // namespace wush::numerics
