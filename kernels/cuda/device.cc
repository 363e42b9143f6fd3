#include "kernels/cuda/device.h"

#include <array>
#include <mutex>

#include "kernels/cuda/launch.h"

namespace wush::kernels::cuda {
namespace {

constexpr int kMaxDevices = 64;

Status query(int device, DeviceInfo* info) {
  cudaDeviceProp properties{};
  if (const auto error = cudaGetDeviceProperties(&properties, device);
      error != cudaSuccess) {
    return check(error, "device_info", {device});
  }
  info->name = properties.name;
  info->architecture = properties.major * 10 + properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->l2_bytes = properties.l2CacheSize;
  info->memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
  if (const auto error = cudaDriverGetVersion(&info->driver_version);
      error != cudaSuccess) {
    return check(error, "device_info", {device});
  }
  return check(cudaRuntimeGetVersion(&info->runtime_version), "device_info",
               {device});
}

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // no driver is not a failed launch
    return 0;
  }
  return count;
}

Status device_info(DeviceInfo* info) {
  static std::mutex mutex;
  static std::array<DeviceInfo, kMaxDevices> known;
  int device = 0;
  if (const auto error = cudaGetDevice(&device); error != cudaSuccess) {
    return check(error, "device_info", {});
  }
  if (device >= kMaxDevices) return query(device, info);
  const std::lock_guard lock(mutex);
  DeviceInfo& entry = known[static_cast<std::size_t>(device)];
  if (entry.architecture == 0) {
    if (Status status = query(device, &entry); !status.ok()) return status;
  }
  *info = entry;
  return {};
}

Status failure(const char* kernel, std::initializer_list<std::int64_t> shape,
               const std::string& what) {
  std::string text = std::string(kernel) + " [";
  const char* separator = "";
  for (const std::int64_t size : shape) {
    text += separator + std::to_string(size);
    separator = ", ";
  }
  return Status(text + "]: " + what);
}

Status check(cudaError_t error, const char* kernel,
             std::initializer_list<std::int64_t> shape) {
  if (error == cudaSuccess) return {};
  return failure(kernel, shape, cudaGetErrorString(error));
}

bool aligned(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) return false;
  }
  return true;
}

}  // namespace wush::kernels::cuda
