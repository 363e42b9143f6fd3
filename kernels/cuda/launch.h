// Checks around launches; only for .cc and .cu files of this folder.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/cuda/device.h"
#include "kernels/cuda/types.h"

namespace wush::kernels::cuda {

// "kernel [a, b, c]: what".
Status failure(const char* kernel, std::initializer_list<std::int64_t> shape,
               const std::string& what);

// Failure of a CUDA call, or of the launch just made.
Status check(cudaError_t error, const char* kernel,
             std::initializer_list<std::int64_t> shape);

// 16-byte alignment of every pointer.
bool aligned(std::initializer_list<const void*> pointers);

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace wush::kernels::cuda
