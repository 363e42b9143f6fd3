#include "lib/throughput/cuda_buffers.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/support/error.h"

namespace wush {

void require(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  const std::string line =
      fmt::format("{}: {}", what, cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // does not outlive this call
    throw OutOfMemoryError(line);
  }
  throw NumericalError(line);
}

void require(const kernels::cuda::Status& status) {
  if (!status.ok()) throw NumericalError(status.message());
}

DeviceBuffer::DeviceBuffer(std::int64_t bytes) : bytes_(bytes) {
  void* p = nullptr;
  // Never empty, so that an address is always valid.
  require(cudaMalloc(
              &p, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 16))),
          "cudaMalloc");
  data_.reset(p);
}

TimedGraph::TimedGraph(Stream stream, std::int64_t launches,
                       const std::function<void(std::int64_t)>& enqueue)
    : stream_(stream), launches_(launches) {
  cudaGraph_t graph = nullptr;
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
  try {
    for (std::int64_t i = 0; i < launches; ++i) enqueue(i);
  } catch (...) {
    static_cast<void>(cudaStreamEndCapture(stream, &graph));
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    throw;
  }
  require(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  const cudaError_t instantiated = cudaGraphInstantiate(&executable_, graph, 0);
  static_cast<void>(cudaGraphDestroy(graph));
  require(instantiated, "cudaGraphInstantiate");
  require(cudaEventCreate(&begin_), "cudaEventCreate");
  require(cudaEventCreate(&end_), "cudaEventCreate");
}

TimedGraph::~TimedGraph() {
  static_cast<void>(cudaGraphExecDestroy(executable_));
  static_cast<void>(cudaEventDestroy(begin_));
  static_cast<void>(cudaEventDestroy(end_));
}

double TimedGraph::replay(const std::function<void()>& meanwhile) {
  require(cudaEventRecord(begin_, stream_), "cudaEventRecord");
  require(cudaGraphLaunch(executable_, stream_), "cudaGraphLaunch");
  require(cudaEventRecord(end_, stream_), "cudaEventRecord");
  if (meanwhile) meanwhile();
  require(cudaEventSynchronize(end_), "cudaEventSynchronize");
  float milliseconds = 0;
  require(cudaEventElapsedTime(&milliseconds, begin_, end_),
          "cudaEventElapsedTime");
  return static_cast<double>(milliseconds) * 1e-3 /
         static_cast<double>(launches_);
}

}  // namespace wush
