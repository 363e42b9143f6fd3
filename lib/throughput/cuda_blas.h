// cuBLAS, the peer that products on a GPU are compared with.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "lib/throughput/cuda_buffers.h"

namespace wush {

// Opens cuBLAS when it is made, not when the program starts: the library and
// its kernels are 0.5 GB, whose loading takes 0.1 s of every command and 20 s
// when they are not in the page cache.
class CudaBlas {
 public:
  // On the current device and `stream`. Throws DeviceError when the library is
  // not there.
  explicit CudaBlas(cudaStream_t stream);
  ~CudaBlas();
  CudaBlas(const CudaBlas&) = delete;
  CudaBlas& operator=(const CudaBlas&) = delete;

  static constexpr std::int64_t kWorkspaceBytes = 64 << 20;

  // 10000 major + 100 minor + patch.
  int version() const;

  // y [m, n] = x [m, k] w [n, k]^T, row-major, of `type` (bfloat16 or float16),
  // summed in float32.
  void multiply(cudaDataType_t type, const void* x, const void* w, void* y,
                std::int64_t m, std::int64_t n, std::int64_t k) const;

 private:
  struct Library;
  void require(cublasStatus_t status, const char* what) const;

  std::unique_ptr<const Library> library_;
  cublasHandle_t handle_ = nullptr;
  // Of its own, which lets cuBLAS run inside a captured graph.
  DeviceBuffer workspace_;
};

}  // namespace wush
