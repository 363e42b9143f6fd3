#include "lib/device/cpu/blas_buffers.h"

#include <cblas.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "lib/device/cpu/parallel.h"
#include "lib/support/error.h"

namespace wush::cpu {
namespace {

// OpenBLAS's BUFFER_SIZE on x86-64, and a thread's stack.
constexpr std::size_t kBytesPerThread =
    (std::size_t{128} << 20) + (std::size_t{8} << 20);
// A product that OpenBLAS does not compute without its buffer.
constexpr int kSide = 192;
constexpr std::chrono::milliseconds kPatience(20);

}  // namespace

void prepare_blas(int threads) {
  // OpenBLAS starts threads of its own when it is loaded, which take buffers
  // although they get nothing to do: one BLAS thread for each of ours.
  static const int idle = openblas_get_num_threads() - 1;
  openblas_set_num_threads(1);
  // More of ours do not run at the same time.
  threads = std::min(threads, std::max(1, openblas_get_num_procs()));
  static std::atomic<int> prepared{0};
  if (prepared >= threads) return;
  const std::size_t bytes =
      kBytesPerThread * static_cast<std::size_t>(threads + idle);
  void* room = ::mmap(nullptr, bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) {
    throw OutOfMemoryError(fmt::format(
        "out of memory: expected {} MiB of address space for the buffers of "
        "OpenBLAS, found less (see ulimit -v)",
        bytes >> 20));
  }
  ::munmap(room, bytes);
  // A thread that finds a buffer free does not take one of its own, so all of
  // them wait for each other; those that come late take theirs when they need
  // it.
  const std::vector<double> zeros(kSide * kSide);
  std::atomic<int> waiting{0};
  parallel_for(threads, threads, [&](std::int64_t) {
    ++waiting;
    const auto late = std::chrono::steady_clock::now() + kPatience;
    while (waiting < threads && std::chrono::steady_clock::now() < late) {
      std::this_thread::yield();
    }
    std::vector<double> product(zeros.size());
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, kSide, kSide, kSide,
                1, zeros.data(), kSide, zeros.data(), kSide, 0, product.data(),
                kSide);
  });
  prepared = threads;
}

}  // namespace wush::cpu
