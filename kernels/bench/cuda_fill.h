// Random inputs made on the device.
#pragma once

#include <cstdint>

#include "kernels/cuda/types.h"

namespace wush::kernels::bench {

// `size` independent standard normal values as bfloat16.
cuda::Status fill_normal(std::uint16_t* values, std::int64_t size,
                         std::uint64_t seed, cuda::Stream stream);

}  // namespace wush::kernels::bench
