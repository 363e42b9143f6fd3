#include <fmt/format.h>

#include "lib/support/error.h"
#include "lib/throughput/cuda_backend.h"

namespace wush {

std::unique_ptr<ThroughputBackend> make_cuda_throughput_backend(
    const std::string& name, int) {
  throw DeviceError(fmt::format(
      "device \"{}\" is not there: this build has no CUDA kernels", name));
}

}  // namespace wush
