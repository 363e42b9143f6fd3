// How CUDA kernels are timed: graphs of launches over inputs that rotate past
// the L2 cache, ours and the peer in turn, medians with spread, beside the copy
// bandwidth and the cuBLAS rate of the same process.
#pragma once

#include <benchmark/benchmark.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cuda/types.h"

namespace wush::kernels::bench {

// Ends the program with a line on a failed call: a benchmark has no caller.
void require(cudaError_t error, const char* what);
void require(cublasStatus_t status, const char* what);
void require(const cuda::Status& status);

struct DeviceFree {
  void operator()(void* p) const { require(cudaFree(p), "cudaFree"); }
};

template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(std::int64_t size) : size_(size) {
    void* p = nullptr;
    require(cudaMalloc(&p, static_cast<std::size_t>(size) * sizeof(T) + 16),
            "cudaMalloc");
    data_.reset(static_cast<T*>(p));
  }
  T* get() const { return data_.get(); }
  std::int64_t size() const { return size_; }
  std::vector<T> host() const {
    std::vector<T> values(static_cast<std::size_t>(size_));
    require(cudaMemcpy(values.data(), get(), values.size() * sizeof(T),
                       cudaMemcpyDeviceToHost),
            "cudaMemcpy");
    return values;
  }

 private:
  std::int64_t size_ = 0;
  std::unique_ptr<T, DeviceFree> data_;
};

// The one stream that everything is timed on.
cuda::Stream stream();

// Number of input sets of `bytes` each that together leave the L2 cache behind.
int rotation(std::int64_t bytes);

struct Timing {
  double median = 0;  // seconds a launch
  double low = 0;     // 10th and 90th percentile
  double high = 0;
};

// Times works in turn. work(i) enqueues one launch on stream() with input set
// i of `sets`; each sample is the replay of a graph of all sets.
using Work = std::function<void(int)>;
std::vector<Timing> time_in_turn(const std::vector<Work>& works, int sets);

// Bytes per second, read plus written, of device-to-device copies of 128 MiB in
// rotation; measured once. (Single larger copies ran slower on an H200.)
double copy_bandwidth();

// y [tokens, features] = x w^T in bfloat16 by cuBLAS, float32 accumulation.
void cublas_matmul(const std::uint16_t* x, const std::uint16_t* w,
                   std::uint16_t* y, std::int64_t tokens, std::int64_t features,
                   std::int64_t cols);
// h [cols, cols] float32 = x^T x of bfloat16 x [tokens, cols].
void cublas_gram(const std::uint16_t* x, float* h, std::int64_t tokens,
                 std::int64_t cols);

// Reports a timing as the benchmark's iteration time and as counters (us, and
// the spread in percent of the median).
void report(benchmark::State& state, const Timing& timing);

}  // namespace wush::kernels::bench
