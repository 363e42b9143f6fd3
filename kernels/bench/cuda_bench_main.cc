// All CUDA benchmarks in one process, so that the ceilings are measured beside
// them. `--benchmark_filter=REGEX` picks some, `--benchmark_out=FILE` keeps
// them.
#include <cstdio>
#include <string>

#include "kernels/bench/cuda_harness.h"
#include "kernels/cuda/device.h"

namespace wush::kernels::bench {

void register_memory_benchmarks();
void register_matmul_benchmarks();
void register_hessian_benchmarks();

}  // namespace wush::kernels::bench

int main(int argc, char** argv) {
  namespace kernels = wush::kernels;
  if (kernels::cuda::device_count() == 0) {
    std::puts("skipped: needs a CUDA device");
    return 0;
  }
  kernels::cuda::DeviceInfo info;
  kernels::bench::require(kernels::cuda::device_info(&info));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("gpu", info.name);
  benchmark::AddCustomContext("driver", std::to_string(info.driver_version));
  benchmark::AddCustomContext("runtime", std::to_string(info.runtime_version));
  benchmark::AddCustomContext(
      "copy_GB/s", std::to_string(kernels::bench::copy_bandwidth() * 1e-9));
  kernels::bench::register_memory_benchmarks();
  kernels::bench::register_matmul_benchmarks();
  kernels::bench::register_hessian_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
