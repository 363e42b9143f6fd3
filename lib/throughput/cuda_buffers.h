// Device memory and timed graphs for the CUDA backend.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/cuda/types.h"

namespace wush {

// Throw NumericalError with what failed, or OutOfMemoryError.
void require(cudaError_t error, const char* what);
void require(const kernels::cuda::Status& status);

// Memory of the current device.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::int64_t bytes);

  void* get() const { return data_.get(); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* p) const noexcept { static_cast<void>(cudaFree(p)); }
  };
  std::int64_t bytes_ = 0;
  std::unique_ptr<void, Free> data_;
};

// Launches captured once and replayed, timed by events around the replay.
class TimedGraph {
 public:
  using Stream = kernels::cuda::Stream;

  // enqueue(i) makes launch i of `launches` on the stream.
  TimedGraph(Stream stream, std::int64_t launches,
             const std::function<void(std::int64_t)>& enqueue);
  ~TimedGraph();
  TimedGraph(const TimedGraph&) = delete;
  TimedGraph& operator=(const TimedGraph&) = delete;

  // Seconds a launch, the mean of one replay; `meanwhile` is called while the
  // device works.
  double replay(const std::function<void()>& meanwhile);

 private:
  Stream stream_;
  std::int64_t launches_;
  cudaGraphExec_t executable_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

}  // namespace wush
