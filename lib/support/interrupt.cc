#include "lib/support/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "lib/support/error.h"

namespace wush {
namespace {

std::atomic<int> first_signal{0};
static_assert(std::atomic<int>::is_always_lock_free,
              "a signal handler may only use lock-free atomics");

void handle_signal(int number) {
  int none = 0;
  if (!first_signal.compare_exchange_strong(none, number)) _exit(128 + number);
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action = {};
  action.sa_handler = handle_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) {
    const int result = ::sigaction(number, &action, nullptr);
    WUSH_CHECK(result == 0, "no handler for signal {}", number);
  }
}

bool interrupted() { return first_signal.load(std::memory_order_relaxed) != 0; }

int interrupt_signal() { return first_signal.load(); }

}  // namespace wush
