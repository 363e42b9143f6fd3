#include "lib/throughput/cuda_clocks.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>

namespace wush {
namespace {

// From NVML's stable interface.
constexpr int kSuccess = 0;
constexpr int kSmClock = 1;
constexpr int kMemoryClock = 2;

template <class F>
F function(void* library, const char* name) {
  return library == nullptr ? nullptr
                            : reinterpret_cast<F>(dlsym(library, name));
}

}  // namespace

CudaClocks::CudaClocks(const std::string& pci_address) {
  library_ = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto initialize = function<int (*)()>(library_, "nvmlInit_v2");
  const auto find = function<int (*)(const char*, Handle*)>(
      library_, "nvmlDeviceGetHandleByPciBusId_v2");
  clock_ = function<ClockFunction>(library_, "nvmlDeviceGetClockInfo");
  if (initialize == nullptr || find == nullptr || clock_ == nullptr) {
    missing_ = "not known: libnvidia-ml.so.1 is not there";
  } else if (initialize() != kSuccess ||
             find(pci_address.c_str(), &device_) != kSuccess) {
    missing_ = "not known: NVML does not answer";
  }
  const auto driver = function<int (*)(char*, unsigned)>(
      library_, "nvmlSystemGetDriverVersion");
  std::array<char, 96> text{};
  if (missing_.empty() && driver != nullptr &&
      driver(text.data(), static_cast<unsigned>(text.size())) == kSuccess) {
    driver_ = text.data();
  }
}

CudaClocks::~CudaClocks() {
  if (library_ == nullptr) return;
  const auto finish = function<int (*)()>(library_, "nvmlShutdown");
  if (finish != nullptr) finish();
  dlclose(library_);
}

void CudaClocks::sample() {
  if (!missing_.empty()) return;
  unsigned sm = 0;
  unsigned memory = 0;
  if (clock_(device_, kSmClock, &sm) != kSuccess ||
      clock_(device_, kMemoryClock, &memory) != kSuccess) {
    missing_ = "not known: NVML refuses to tell";
    return;
  }
  lowest_ = lowest_ == 0 ? sm : std::min<std::int64_t>(lowest_, sm);
  highest_ = std::max<std::int64_t>(highest_, sm);
  memory_ = memory;
}

std::map<std::string, DataValue> CudaClocks::attributes() const {
  if (!missing_.empty()) return {{"clocks", missing_}};
  return {{"sm_clock_mhz_lowest", lowest_},
          {"sm_clock_mhz_highest", highest_},
          {"driver", driver_},
          {"memory_clock_mhz", memory_}};
}

}  // namespace wush
