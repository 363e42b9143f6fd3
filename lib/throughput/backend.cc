#include "lib/throughput/backend.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

#include "lib/support/error.h"
#include "lib/throughput/cpu_backend.h"
#include "lib/throughput/cuda_backend.h"

namespace wush {

std::unique_ptr<ThroughputBackend> make_throughput_backend(
    const std::string& name, int threads) {
  constexpr std::string_view kCuda = "cuda:";
  if (name == "cpu") return make_cpu_throughput_backend(threads);
  int device = -1;
  if (name.starts_with(kCuda)) {
    const char* end = name.data() + name.size();
    const auto [rest, error] =
        std::from_chars(name.data() + kCuda.size(), end, device);
    if (error != std::errc() || rest != end) device = -1;
  }
  if (device < 0) {
    throw DeviceError(fmt::format(
        "device \"{}\" is not there: expected cpu or cuda:N", name));
  }
  return make_cuda_throughput_backend(name, device);
}

}  // namespace wush
