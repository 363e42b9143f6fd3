// A GPU's share of the throughput experiment.
#pragma once

#include <memory>
#include <string>

#include "lib/throughput/backend.h"

namespace wush {

// Device N of "cuda:N": kernels/cuda against cuBLAS in bfloat16 and float16,
// float32 accumulation. One sample is the replay of a CUDA graph of one launch
// for each set. Throws DeviceError when this build has no CUDA kernels or this
// machine no such device.
std::unique_ptr<ThroughputBackend> make_cuda_throughput_backend(
    const std::string& name, int device);

}  // namespace wush
