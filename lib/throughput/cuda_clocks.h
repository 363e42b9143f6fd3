// The clocks of a GPU while it works.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "lib/results/table.h"

namespace wush {

// Reads clocks through NVML, which comes with the driver: it is looked up at
// run time, and where it is not there the attributes say so.
class CudaClocks {
 public:
  // Of the device at this PCI address ("0000:4B:00.0").
  explicit CudaClocks(const std::string& pci_address);
  ~CudaClocks();
  CudaClocks(const CudaClocks&) = delete;
  CudaClocks& operator=(const CudaClocks&) = delete;

  void sample();
  // clocks (text, where there are none), or sm_clock_mhz_lowest and _highest
  // of all samples, memory_clock_mhz of the last, and driver (its version).
  std::map<std::string, DataValue> attributes() const;

 private:
  using Handle = void*;
  using ClockFunction = int (*)(Handle, int, unsigned*);

  void* library_ = nullptr;
  Handle device_ = nullptr;
  ClockFunction clock_ = nullptr;
  std::string missing_;
  std::string driver_;
  std::int64_t lowest_ = 0;
  std::int64_t highest_ = 0;
  std::int64_t memory_ = 0;
};

}  // namespace wush
