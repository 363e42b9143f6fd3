#include "lib/throughput/cuda_blas.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <string>

#include "lib/support/error.h"

namespace wush {
namespace {

void* open_library() {
  const std::string name = fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR);
  // The second is the toolkit's that this was built with.
  for (const std::string& path : {name, std::string(WUSH_CUBLAS_PATH)}) {
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      return library;
    }
  }
  throw DeviceError(fmt::format(
      "expected cuBLAS, with which products on a GPU are compared, found "
      "neither {} nor {}",
      name, WUSH_CUBLAS_PATH));
}

}  // namespace

struct CudaBlas::Library {
  template <class F>
  F* find(F*, const char* name) const {
    void* address = dlsym(handle, name);
    if (address == nullptr) {
      throw DeviceError(fmt::format("cuBLAS has no {}", name));
    }
    return reinterpret_cast<F*>(address);
  }

  void* handle = open_library();  // stays open until the program ends
// cublas_v2.h gives the functions their versioned names by macros, which
// decltype sees and a string does not.
#define WUSH_CUBLAS(member, function, symbol) \
  decltype(&function) member = find(decltype(&function){}, symbol)
  WUSH_CUBLAS(create, cublasCreate, "cublasCreate_v2");
  WUSH_CUBLAS(destroy, cublasDestroy, "cublasDestroy_v2");
  WUSH_CUBLAS(set_stream, cublasSetStream, "cublasSetStream_v2");
  WUSH_CUBLAS(set_workspace, cublasSetWorkspace, "cublasSetWorkspace_v2");
  WUSH_CUBLAS(get_version, cublasGetVersion, "cublasGetVersion_v2");
  WUSH_CUBLAS(status_string, cublasGetStatusString, "cublasGetStatusString");
#undef WUSH_CUBLAS
  // cublasGemmEx is overloaded in C++; this is the one of the C interface.
  using Gemm = cublasStatus_t(cublasHandle_t, cublasOperation_t,
                              cublasOperation_t, int, int, int, const void*,
                              const void*, cudaDataType, int, const void*,
                              cudaDataType, int, const void*, void*,
                              cudaDataType, int, cublasComputeType_t,
                              cublasGemmAlgo_t);
  Gemm* gemm = find(static_cast<Gemm*>(nullptr), "cublasGemmEx");
};

CudaBlas::CudaBlas(cudaStream_t stream)
    : library_(std::make_unique<const Library>()), workspace_(kWorkspaceBytes) {
  require(library_->create(&handle_), "cublasCreate");
  require(library_->set_stream(handle_, stream), "cublasSetStream");
  require(library_->set_workspace(handle_, workspace_.get(),
                                  static_cast<std::size_t>(kWorkspaceBytes)),
          "cublasSetWorkspace");
}

CudaBlas::~CudaBlas() { static_cast<void>(library_->destroy(handle_)); }

void CudaBlas::require(cublasStatus_t status, const char* what) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw NumericalError(
      fmt::format("{}: {}", what, library_->status_string(status)));
}

int CudaBlas::version() const {
  int version = 0;
  require(library_->get_version(handle_, &version), "cublasGetVersion");
  return version;
}

void CudaBlas::multiply(cudaDataType_t type, const void* x, const void* w,
                        void* y, std::int64_t m, std::int64_t n,
                        std::int64_t k) const {
  const float one = 1;
  const float zero = 0;
  const auto rows = static_cast<int>(m);
  const auto cols = static_cast<int>(n);
  const auto depth = static_cast<int>(k);
  // In cuBLAS's column order this is y^T = w x^T.
  require(library_->gemm(handle_, CUBLAS_OP_T, CUBLAS_OP_N, cols, rows, depth,
                         &one, w, type, depth, x, type, depth, &zero, y, type,
                         cols, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
}

}  // namespace wush
