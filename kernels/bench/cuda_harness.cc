#include "kernels/bench/cuda_harness.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "kernels/cuda/device.h"

namespace wush::kernels::bench {
namespace {

[[noreturn]] void stop(const char* what, const char* why) {
  std::fprintf(stderr, "%s: %s\n", what, why);
  std::exit(1);
}

cublasHandle_t cublas() {
  static cublasHandle_t handle = [] {
    cublasHandle_t h = nullptr;
    require(cublasCreate(&h), "cublasCreate");
    require(cublasSetStream(h, stream()), "cublasSetStream");
    // A workspace of its own lets cuBLAS run inside a captured graph.
    static const DeviceArray<std::uint8_t> workspace(64 << 20);
    require(cublasSetWorkspace(h, workspace.get(), 64 << 20),
            "cublasSetWorkspace");
    return h;
  }();
  return handle;
}

class Graph {
 public:
  Graph(const Work& work, int sets) {
    cudaGraph_t graph = nullptr;
    require(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal),
            "cudaStreamBeginCapture");
    for (int i = 0; i < sets; ++i) work(i);
    require(cudaStreamEndCapture(stream(), &graph), "cudaStreamEndCapture");
    require(cudaGraphInstantiate(&executable_, graph, 0),
            "cudaGraphInstantiate");
    require(cudaGraphDestroy(graph), "cudaGraphDestroy");
    require(cudaEventCreate(&begin_), "cudaEventCreate");
    require(cudaEventCreate(&end_), "cudaEventCreate");
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    require(cudaGraphExecDestroy(executable_), "cudaGraphExecDestroy");
    require(cudaEventDestroy(begin_), "cudaEventDestroy");
    require(cudaEventDestroy(end_), "cudaEventDestroy");
  }

  double seconds() const {
    require(cudaEventRecord(begin_, stream()), "cudaEventRecord");
    require(cudaGraphLaunch(executable_, stream()), "cudaGraphLaunch");
    require(cudaEventRecord(end_, stream()), "cudaEventRecord");
    require(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, begin_, end_),
            "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

}  // namespace

void require(cudaError_t error, const char* what) {
  if (error != cudaSuccess) stop(what, cudaGetErrorString(error));
}
void require(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    stop(what, cublasGetStatusString(status));
  }
}
void require(const cuda::Status& status) {
  if (!status.ok()) stop("kernel", status.message().c_str());
}

cuda::Stream stream() {
  static cuda::Stream s = [] {
    cudaStream_t created = nullptr;
    require(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking),
            "cudaStreamCreate");
    return created;
  }();
  return s;
}

int rotation(std::int64_t bytes) {
  cuda::DeviceInfo info;
  require(cuda::device_info(&info));
  const std::int64_t sets =
      4 * info.l2_bytes / std::max<std::int64_t>(bytes, 1);
  return static_cast<int>(std::clamp<std::int64_t>(sets + 1, 2, 64));
}

std::vector<Timing> time_in_turn(const std::vector<Work>& works, int sets) {
  std::vector<std::unique_ptr<Graph>> graphs;
  for (const Work& work : works) {
    work(0);  // loads modules and sets attributes outside of the capture
    require(cudaStreamSynchronize(stream()), "warm-up");
    graphs.push_back(std::make_unique<Graph>(work, sets));
  }
  double once = 0;
  for (const auto& graph : graphs) once += graph->seconds();
  // About 60 ms a benchmark, and at least 15 samples: clocks change under load.
  // (Medians of large products were up to 10 % off beside another's with seven;
  // with 15, one of 27 still was.)
  const int samples =
      static_cast<int>(std::clamp(0.06 / std::max(once, 1e-6), 15.0, 101.0));
  std::vector<std::vector<double>> times(works.size());
  for (int sample = 0; sample < samples; ++sample) {
    for (std::size_t i = 0; i < graphs.size(); ++i) {
      times[i].push_back(graphs[i]->seconds() / sets);
    }
  }
  std::vector<Timing> result;
  for (auto& t : times) {
    std::sort(t.begin(), t.end());
    const auto at = [&](double q) {
      return t[static_cast<std::size_t>(q * static_cast<double>(t.size() - 1) +
                                        0.5)];
    };
    result.push_back({at(0.5), at(0.1), at(0.9)});
  }
  return result;
}

double copy_bandwidth() {
  static const double bandwidth = [] {
    constexpr std::int64_t kBytes = 128 << 20;
    constexpr int kSets = 4;
    std::vector<DeviceArray<std::uint16_t>> from, to;
    for (int i = 0; i < kSets; ++i) {
      from.emplace_back(kBytes / 2);
      to.emplace_back(kBytes / 2);
      require(cudaMemset(from.back().get(), 0x3c, kBytes), "cudaMemset");
    }
    const Work copy = [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      require(cudaMemcpyAsync(to[k].get(), from[k].get(), kBytes,
                              cudaMemcpyDeviceToDevice, stream()),
              "cudaMemcpyAsync");
    };
    // The clocks of an idle device take a while to rise.
    for (int i = 0; i < 4000; ++i) copy(i % kSets);
    return 2.0 * static_cast<double>(kBytes) /
           time_in_turn({copy}, kSets).front().median;
  }();
  return bandwidth;
}

void cublas_matmul(const std::uint16_t* x, const std::uint16_t* w,
                   std::uint16_t* y, std::int64_t tokens, std::int64_t features,
                   std::int64_t cols) {
  const float one = 1, zero = 0;
  const int m = static_cast<int>(features), n = static_cast<int>(tokens),
            k = static_cast<int>(cols);
  require(cublasGemmEx(cublas(), CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &one, w,
                       CUDA_R_16BF, k, x, CUDA_R_16BF, k, &zero, y, CUDA_R_16BF,
                       m, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
}

void cublas_gram(const std::uint16_t* x, float* h, std::int64_t tokens,
                 std::int64_t cols) {
  const float one = 1, zero = 0;
  const int n = static_cast<int>(cols), k = static_cast<int>(tokens);
  require(cublasGemmEx(cublas(), CUBLAS_OP_N, CUBLAS_OP_T, n, n, k, &one, x,
                       CUDA_R_16BF, n, x, CUDA_R_16BF, n, &zero, h, CUDA_R_32F,
                       n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
}

void report(benchmark::State& state, const Timing& timing) {
  for (auto _ : state) state.SetIterationTime(timing.median);
  state.counters["us"] = timing.median * 1e6;
  state.counters["spread_%"] = 100 * (timing.high - timing.low) / timing.median;
}

}  // namespace wush::kernels::bench
