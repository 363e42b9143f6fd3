// The current CUDA device.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/cuda/status.h"

namespace wush::kernels::cuda {

// Number of usable CUDA devices; 0 without a driver.
int device_count();

struct DeviceInfo {
  std::string name;
  int architecture = 0;  // compute capability, major * 10 + minor
  int multiprocessors = 0;
  std::int64_t l2_bytes = 0;
  std::int64_t memory_bytes = 0;
  int driver_version = 0;   // as cudaDriverGetVersion
  int runtime_version = 0;  // as cudaRuntimeGetVersion
};

// Of the current device. The first call for a device asks the driver, later
// ones do not.
Status device_info(DeviceInfo* info);

}  // namespace wush::kernels::cuda
