#include "lib/device/cpu/parallel.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

namespace wush::cpu {
namespace {

// One parallel_for: pieces are claimed in ascending order.
class Job {
 public:
  Job(std::int64_t count, const std::function<void(std::int64_t)>& body)
      : count_(count), body_(body) {}

  void work() {
    for (std::int64_t i = next_++; i < count_; i = next_++) {
      try {
        body_(i);
      } catch (...) {
        const std::lock_guard lock(error_mutex_);
        if (i < error_index_) {
          error_index_ = i;
          error_ = std::current_exception();
        }
      }
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const std::int64_t count_;
  const std::function<void(std::int64_t)>& body_;
  std::atomic<std::int64_t> next_ = 0;
  std::mutex error_mutex_;
  std::int64_t error_index_ = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr error_;
};

// Workers that sleep until there is a job. They live as long as the process.
class Pool {
 public:
  // False when the pool is busy with another job.
  bool run(Job& job, int helpers) {
    const std::unique_lock busy(busy_, std::try_to_lock);
    if (!busy.owns_lock()) return false;
    std::unique_lock lock(mutex_);
    for (; workers_ < helpers; ++workers_) {
      std::thread([this] { serve(); }).detach();
    }
    job_ = &job;
    seats_ = helpers;
    wake_.notify_all();
    lock.unlock();
    job.work();
    lock.lock();
    // Who has not sat down by now finds nothing left to do.
    job_ = nullptr;
    seats_ = 0;
    idle_.wait(lock, [this] { return working_ == 0; });
    return true;
  }

 private:
  void serve();

  std::mutex busy_;  // held by the caller of run()
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  Job* job_ = nullptr;
  int seats_ = 0;    // workers that may still join the job
  int working_ = 0;  // workers that have joined it
  int workers_ = 0;
};

thread_local bool is_inside = false;

void Pool::serve() {
  is_inside = true;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return seats_ > 0; });
    --seats_;
    ++working_;
    Job& job = *job_;
    lock.unlock();
    job.work();
    lock.lock();
    if (--working_ == 0) idle_.notify_one();
  }
}

// Never destroyed, since its threads wait on it until the process ends. A
// forked child has no threads but its own and starts with a new pool.
std::atomic<Pool*> current_pool = nullptr;

Pool& pool() {
  static const bool made = [] {
    current_pool = new Pool;
    pthread_atfork(nullptr, nullptr, [] { current_pool = new Pool; });
    return true;
  }();
  static_cast<void>(made);
  return *current_pool;
}

}  // namespace

void parallel_for(int threads, std::int64_t count,
                  const std::function<void(std::int64_t)>& body) {
  Job job(count, body);
  const int helpers =
      static_cast<int>(std::min<std::int64_t>(threads, count)) - 1;
  if (helpers < 1 || is_inside) {
    job.work();
  } else {
    is_inside = true;
    if (!pool().run(job, helpers)) job.work();
    is_inside = false;
  }
  job.rethrow();
}

}  // namespace wush::cpu
