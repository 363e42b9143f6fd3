#include "lib/device/cpu/cpu_device.h"

#include <cblas.h>
#include <fmt/format.h>
#include <sched.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernels/cpu/isa.h"
#include "lib/device/cpu/blas_buffers.h"
#include "lib/device/cpu/parallel.h"
#include "lib/support/error.h"

namespace wush {
namespace {

int available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const auto colon = line.find(':');
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown processor";
}

void copy_rows(const void* from, std::size_t from_pitch, void* to,
               std::size_t to_pitch, std::size_t row_bytes, std::int64_t rows) {
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto row = static_cast<std::size_t>(i);
    std::memcpy(target + row * to_pitch, source + row * from_pitch, row_bytes);
  }
}

}  // namespace

CpuDevice::CpuDevice(int threads)
    : threads_(threads > 0 ? threads : available_processors()) {
  cpu::prepare_blas(threads_);
}

std::string CpuDevice::description() const {
  return fmt::format("{}; kernels {}; {}", processor_name(),
                     kernels::isa_name(kernels::best_isa()),
                     openblas_get_config());
}

void* CpuDevice::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  // One cache line beyond what is asked for, rounded to whole lines.
  void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (data == nullptr) {
    throw OutOfMemoryError(
        fmt::format("out of memory: {} bytes wanted with {} in use", bytes,
                    bytes_in_use()));
  }
  count_allocation(bytes);
  return data;
}

void CpuDevice::release(void* data, std::size_t bytes) noexcept {
  std::free(data);
  count_release(bytes);
}

void CpuDevice::upload(const void* host, std::size_t host_pitch, void* device,
                       std::size_t device_pitch, std::size_t row_bytes,
                       std::int64_t rows) {
  copy_rows(host, host_pitch, device, device_pitch, row_bytes, rows);
}

void CpuDevice::download(const void* device, std::size_t device_pitch,
                         void* host, std::size_t host_pitch,
                         std::size_t row_bytes, std::int64_t rows) {
  copy_rows(device, device_pitch, host, host_pitch, row_bytes, rows);
}

void CpuDevice::copy(const void* from, std::size_t from_pitch, void* to,
                     std::size_t to_pitch, std::size_t row_bytes,
                     std::int64_t rows) {
  copy_rows(from, from_pitch, to, to_pitch, row_bytes, rows);
}

void CpuDevice::fill_zero(void* device, std::size_t bytes) {
  if (bytes > 0) std::memset(device, 0, bytes);
}

std::unique_ptr<Device> make_device(const std::string& name, int threads) {
  if (name == "cpu") return std::make_unique<CpuDevice>(threads);
  throw DeviceError(
      fmt::format("device \"{}\" is not there: this build has \"cpu\"", name));
}

}  // namespace wush
